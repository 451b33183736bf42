"""Opening an environment of LMDB, with as much address space as there is."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

from ..._files import explain
from .._errors import DamagedError, DataDirectoryError
from ._mapping import MAPPED, is_damage
from ._room import SPARE, has_room

# Bytes of address space that are reserved for the map: 256 GiB of the 128 TiB that a process has on 64-bit systems, so that the map
# hardly ever grows. On Linux and macOS the file grows only as pages are used. Picked, not measured.
DEFAULT_MAP = (1 << 38) if sys.maxsize > 1 << 32 else (1 << 30)
# The smallest map to try if the system refuses larger ones. Picked, not measured.
SMALLEST_MAP = 1 << 20

OpenEnvironment = Callable[..., lmdb.Environment]


def open_largest(
    open_environment: OpenEnvironment,
    path: Path,
    map_size: int,
    settings: dict[str, Any],
    has_room: Callable[[int], bool] = has_room,
) -> lmdb.Environment:
    """Open an environment with as much address space as the system gives, but for `SPARE`. The map will grow when it must.

    Args:
        open_environment: `lmdb.open`, or its stand-in.
        path: The data directory.
        map_size: Bytes of address space to ask for at first.
        settings: The other arguments of `lmdb.open`.
        has_room: Stands in for the function of that name.

    Raises:
        DataDirectoryError: The environment does not open.
    """
    while True:
        try:
            env = open_environment(str(path), map_size=map_size, readahead=False, **settings)
        except (*MAPPED, OverflowError) as exc:
            if map_size <= SMALLEST_MAP or not _is_too_large(exc):
                raise not_opened(path, exc) from exc
        else:
            if map_size <= SMALLEST_MAP or has_room(SPARE):
                return env
            env.close()
        map_size //= 2


def _is_too_large(error: Exception) -> bool:
    """Return whether an error says that the system does not give that much address space."""
    if isinstance(error, (lmdb.MemoryError, MemoryError, OverflowError)):
        return True
    return errno.ENOMEM in (getattr(error, "code", None), getattr(error, "errno", None))


def not_opened(path: Path, error: Exception) -> DataDirectoryError:
    """Return the error that says why a database does not open."""
    hint = "; it is damaged: restore a backup" if is_damage(error) or isinstance(error, DamagedError) else ""
    reason = explain(error) if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ") or type(error).__name__
    return DataDirectoryError(f"can't open the database in {path}: {reason}{hint}")
