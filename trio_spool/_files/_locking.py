"""A lock that one process at a time holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock of a file, held until `release` or the end of the process.

    It is an advisory lock, of `flock(2)`: it keeps out nobody who does not ask for it. Two locks of one process keep each other
    out as well. The file is made if it is missing, and stays.

    Args:
        path: The file.
        mode: The permissions of a file that is made, without those that the umask takes away.
        flock: Stands in for `fcntl.flock`.

    Attributes:
        file: The open file, for what the holder says about itself in it.

    Raises:
        OSError: The file can't be opened for writing.
    """

    def __init__(self, path: Path, *, mode: int = 0o666, flock: Callable[[int, int], object] = fcntl.flock) -> None:
        self._flock = flock
        self._held = False
        self.file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode), "r+")

    def acquire(self, *, wait: bool) -> None:
        """Take the lock.

        Args:
            wait: Whether to wait until nobody else holds it.

        Raises:
            BlockingIOError: Another one holds it, and `wait` is not set.
            OSError: The file system has no locks.
        """
        self._flock(self.file.fileno(), fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held = True

    def release(self) -> None:
        """Let others take it, and close the file. Harmless if it is not held."""
        if self._held:
            # Closing alone is not enough: a forked process has the file as well, and so the lock.
            self._held = False
            self._flock(self.file.fileno(), fcntl.LOCK_UN)
        self.file.close()

    def __enter__(self) -> FileLock:
        """Return the lock, which may not be held yet."""
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Release it."""
        self.release()
