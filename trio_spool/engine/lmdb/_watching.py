"""Whether the files that an engine has open are still the ones that its data directory leads to.

A data directory can be removed, renamed, or replaced by another while a process has its files open. The process would go on writing
to files that nobody will find again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..._files import explain
from .._directory import LOCK, MARKER
from .._errors import LostStoreError
from ._database import DATABASE

# Seconds between two looks. Each takes about 5 microseconds.
INTERVAL = 1.0


class FileWatch:
    """Looks at the files of a data directory once in a while. The writer thread uses it.

    Make it when the directory has been locked and the database is open.

    Args:
        path: The data directory.
        interval: Seconds between two looks.
        clock: A monotonic clock.

    Raises:
        OSError: The files can't be looked at.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._interval = interval
        self._clock = clock
        self._looked = clock()
        self._lock = _identity(os.stat(path / LOCK))
        self.renew()

    def renew(self) -> None:
        """Take the database that is there for the one that is open, since it has just been opened.

        Raises:
            OSError: It can't be looked at.
        """
        status = os.stat(self._path / DATABASE)
        self._database = _identity(status)
        self._size = status.st_size  # the greatest that was seen

    @property
    def size(self) -> int:
        """The bytes of the database, when it was last looked at."""
        return self._size

    def look_if_due(self) -> None:
        """Look if the last look is a while ago.

        Raises:
            LostStoreError: The files are no longer those of the directory.
        """
        now = self._clock()
        if now - self._looked >= self._interval:
            self._looked = now
            self.look()

    def look(self) -> None:
        """Look at the files.

        Raises:
            LostStoreError: They are no longer those of the directory.
        """
        database = self._stat(DATABASE)
        if _identity(database) != self._database:
            raise self._lost(f"{DATABASE} there is not the file that is open")
        # Without the lock, a second process could open the same database.
        if _identity(self._stat(LOCK)) != self._lock:
            raise self._lost(f"{LOCK} there is not the file that is locked")
        self._stat(MARKER)  # without it, the next start would take the directory for somebody else's
        # A database never gets shorter. To read behind its end would kill the process.
        if database.st_size < self._size:
            raise self._lost(f"{DATABASE} was cut off, at {database.st_size} of {self._size} bytes")
        self._size = database.st_size

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(self._path / name)
        except OSError as exc:
            raise self._lost(f"{name}: {explain(exc)}") from exc

    def _lost(self, why: str) -> LostStoreError:
        return LostStoreError(
            f"the data directory {self._path} was removed, renamed or changed by somebody else: {why}; "
            "put it back before the next start"
        )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
