"""Room: address space for a larger map, and room on the disk. Both are looked for without touching what is in use.

`mdb_env_set_mapsize` unmaps the old map before it maps the new one. If that fails, there is none, and whoever reads dies.

When a write to a file ends half-way, as it does where the disk becomes full, LMDB says that the disk failed (EIO). It says the same
of a disk that really did, and there is no other way to tell the two apart than to look for room.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

# The least by which a map grows, in bytes, and the unit of its growth. Picked, not measured: below it, a map would have to grow at
# almost every transaction.
LEAST_GROWTH = 1 << 20
# Bytes of address space that a map leaves to the rest of the process: a server whose map takes everything can't even answer that
# there is no room. Picked, not measured: two groups of mutations, with their requests and replies.
SPARE = 64 * 1024 * 1024
# Bytes that a disk with room has, and a file that may grow: twice the bytes that one transaction stores at most, but for one large
# item. Picked, not measured.
DISK_ROOM = 64 * 1024 * 1024
# The numbers of errors that mean "no room". With EFBIG, the file has reached the limit of the process.
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM)


def has_room(size: int) -> bool:
    """Return whether the process can get some more bytes of address space: they are mapped, and unmapped."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    try:
        # Only to be read, so that it does not count as memory that may be needed.
        mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ).close()
    except (OSError, ValueError, OverflowError, MemoryError):
        return False
    return True


def larger(size: int, has_room: Callable[[int], bool] = has_room) -> int | None:
    """Return the size of a map that replaces one of this size: twice as large if there is room, or less; None if there is no room.

    `SPARE` is left to others.

    Args:
        size: Bytes of the map in use.
        has_room: Stands in for the function of that name.
    """
    growth = size
    while growth >= LEAST_GROWTH:
        if has_room(growth + SPARE):
            return size + growth
        growth = growth // 2 // LEAST_GROWTH * LEAST_GROWTH
    return None


def disk_has_room(path: Path, file_size: int, size: int = DISK_ROOM) -> bool:
    """Return whether there is room on a disk, as far as the process may use it.

    Args:
        path: A directory on the disk.
        file_size: The bytes of the file that is to grow.
        size: Bytes that there must be.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and file_size + size > limit:
        return False
    try:
        status = os.statvfs(path)
        if status.f_bavail * status.f_frsize < size:
            return False
        if hasattr(os, "posix_fallocate"):
            with tempfile.TemporaryFile(dir=path) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a quota may be smaller than the disk
    except OSError as exc:
        return exc.errno not in NO_ROOM
    return True
