"""Locks between processes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from trio_spool._files import FileLock


def test_one_holder_at_a_time(tmp_path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        first.acquire(wait=False)
        with pytest.raises(BlockingIOError):
            second.acquire(wait=False)
        first.release()
        second.acquire(wait=False)
    assert (tmp_path / "lock").exists()


def test_leaving_the_block_releases_it(tmp_path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        lock.acquire(wait=False)
    lock.release()
    with FileLock(tmp_path / "lock") as other:
        other.acquire(wait=False)


def test_waiting(tmp_path) -> None:
    taken = threading.Event()

    def take_in_thread() -> None:
        with FileLock(tmp_path / "lock") as lock:
            lock.acquire(wait=True)
            taken.set()

    with FileLock(tmp_path / "lock") as first:
        first.acquire(wait=True)
        thread = threading.Thread(target=take_in_thread, daemon=True)
        thread.start()
        assert not taken.is_set()
    assert taken.wait(20)
    thread.join(20)


def test_the_lock_ends_with_its_process(tmp_path) -> None:
    script = f"""
from pathlib import Path
from trio_spool._files import FileLock
lock = FileLock(Path({str(tmp_path / "lock")!r}))
lock.acquire(wait=False)
lock.file.write(b"mine")
print("locked", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        with FileLock(tmp_path / "lock") as lock:
            with pytest.raises(BlockingIOError):
                lock.acquire(wait=False)
            assert lock.file.read() == b"mine"
            process.kill()
            process.wait(20)
            lock.acquire(wait=False)


def test_a_forked_process_does_not_keep_it(tmp_path) -> None:
    script = f"""
import os
from pathlib import Path
from trio_spool._files import FileLock
path = Path({str(tmp_path / "lock")!r})
lock = FileLock(path)
lock.acquire(wait=False)
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    os.read(reading, 1)  # until the parent has ended
    os._exit(0)
lock.release()
with FileLock(path) as again:
    again.acquire(wait=False)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_file_system_without_locks(tmp_path) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)) as caught, FileLock(tmp_path / "lock", flock=refuse) as lock:
        lock.acquire(wait=True)
    assert caught.value.errno == errno.ENOLCK
    assert lock.file.closed


def test_operations(tmp_path) -> None:
    operations = []
    for wait in (True, False):
        with FileLock(tmp_path / "lock", flock=lambda descriptor, operation: operations.append(operation)) as lock:
            lock.acquire(wait=wait)
    assert operations == [fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN]


def test_a_file_that_can_not_be_made(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "none" / "lock")
    lock = FileLock(tmp_path / "lock", mode=0o600)
    lock.release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
