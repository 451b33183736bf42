/* A disk that fails when a test says so: preloaded, it stands between LMDB and the system.
 *
 * The file named by DISK_FAULTS is mapped by the test as well: see disk_faults.py, which has the same layout. Each call on a file
 * whose name ends with "/data.mdb" is counted; what shall happen to it stands in a table.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALLS 256

enum { NOTHING, BEFORE, AFTER, SHORT, HANG };

struct control {
    int32_t calls;
    char kinds[CALLS];               /* of the calls that were made */
    struct { int32_t how, error; } table[CALLS + 1];   /* the last entry: for all calls beyond the table */
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED)
            control = map;
        close(fd);
    }
}

static int is_database(int fd) {
    static const char end[] = "/data.mdb";
    char link[32], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, sizeof name);
    return size >= (ssize_t)sizeof end && memcmp(name + size - (sizeof end - 1), end, sizeof end - 1) == 0;
}

static int fate(int fd, char kind, int *error) {
    if (control == NULL || !is_database(fd))
        return NOTHING;
    int32_t call = __atomic_fetch_add(&control->calls, 1, __ATOMIC_SEQ_CST);
    if (call >= CALLS)
        call = CALLS;
    else
        control->kinds[call] = kind;
    *error = control->table[call].error;
    return control->table[call].how;
}

/* Make the call, or not, and fail. */
#define FAILING(kind, call, half) \
    int error = 0; \
    switch (fate(fd, kind, &error)) { \
    case NOTHING: return call; \
    case SHORT: return half; \
    case AFTER: (void)!(call); break; \
    case HANG: for (;;) pause(); \
    } \
    errno = error; \
    return -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    FAILING('p', REAL(pwrite)(fd, data, size, offset), REAL(pwrite)(fd, data, size / 2, offset))
}

ssize_t write(int fd, const void *data, size_t size) {
    FAILING('w', REAL(write)(fd, data, size), REAL(write)(fd, data, size / 2))
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    FAILING('v', REAL(writev)(fd, parts, count), REAL(write)(fd, parts->iov_base, parts->iov_len / 2))
}

int fdatasync(int fd) {
    FAILING('s', REAL(fdatasync)(fd), REAL(fdatasync)(fd))
}

int fsync(int fd) {
    FAILING('s', REAL(fsync)(fd), REAL(fsync)(fd))
}
