"""Errors of LMDB and of the system below it, as errors of an engine: the one place where they are told apart."""

from __future__ import annotations

import errno
import os
import struct
from types import TracebackType

import lmdb

from .._damage import DamageLog
from .._errors import DamagedError, DeviceError, NoSpaceError, RefusedError, StorageError
from ._pages import DamagedPageError
from ._room import NO_ROOM

# The numbers of errors that say that the system does not let the process use the file any more.
_REFUSED = (errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EBADF, errno.EACCES, errno.EPERM)
# Raised by LMDB where a database is not what was written.
_DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.IncompatibleError, lmdb.BadDbiError, struct.error)
# Those of them that a single damaged page leads to. The rest is readable.
_DAMAGED_PAGES = (lmdb.CorruptedError, lmdb.PageNotFoundError)
# All that is mapped. Other errors are bugs of ours.
MAPPED = (lmdb.Error, OSError, MemoryError)


class MapFullError(NoSpaceError):
    """The transaction does not fit into the map, which can grow."""


def map_error(error: Exception) -> StorageError:
    """Return the error of an engine for one of `MAPPED`."""
    if isinstance(error, lmdb.MapFullError):
        return MapFullError(str(error))
    if _has_number(error, (errno.EIO,)):
        return DeviceError(f"the disk failed: {error}")
    if _has_number(error, _REFUSED):
        return RefusedError(f"the system refuses to use the database: {error}")
    if _is_no_room(error):
        return NoSpaceError(f"there is no room for the database: {str(error) or type(error).__name__}")
    if isinstance(error, _DAMAGED_PAGES):
        return DamagedError(f"a page of the database is damaged: {error}")
    return StorageError(f"the database failed: {error}")


def _is_no_room(error: Exception) -> bool:
    return isinstance(error, (lmdb.DiskError, lmdb.MemoryError, MemoryError)) or _has_number(error, NO_ROOM)


def _has_number(error: Exception, numbers: tuple[int, ...]) -> bool:
    if getattr(error, "errno", None) in numbers or getattr(error, "code", None) in numbers:
        return True
    # LMDB has no classes for the errors of the system, and some of its versions don't keep their numbers: only their text is left.
    return any(os.strerror(number) in str(error) for number in numbers)


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the database is damaged."""
    return isinstance(error, _DAMAGED)


class MapErrors:
    """A block in which errors of `MAPPED` turn into StorageError.

    It changes nothing of its own, so one object serves all threads. A generator with `contextmanager` would take three times as
    long, once for each group of operations.

    Args:
        damage: Is told of damaged pages.
    """

    def __init__(self, damage: DamageLog | None = None) -> None:
        self._damage = damage

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Raise what an error is mapped to."""
        if self._damage is not None and isinstance(exc, DamagedPageError):
            self._damage.met(exc)
        if isinstance(exc, MAPPED):
            error = map_error(exc)
            if self._damage is not None and isinstance(error, DamagedError):
                self._damage.met(error)
            raise error from exc


map_errors = MapErrors()
