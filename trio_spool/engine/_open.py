"""Opening an engine by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._engine import Engine
from ._memory import MemoryEngine

ENGINES = ("lmdb", "memory")


def open_engine(kind: str, path: Path | None = None, *, fsync: str = "always", **options: Any) -> Engine:
    """Open an engine.

    Args:
        kind: ``lmdb``, or ``memory``, which keeps nothing.
        path: The data directory of ``lmdb``, made if it is missing.
        fsync: When ``lmdb`` forces what it wrote to the disk. A crash of the process loses nothing that was acknowledged, whichever
            it is. A crash of the machine loses nothing with ``always``, which syncs every commit before it is answered; the
            last second or so with ``everysec``; what the operating system had not written yet with ``no``. With the last two, a
            file system that reorders writes can leave the database damaged.
        options: ``wake``, ``clock``, ``expiry_interval``, ``max_snapshots``, ``max_snapshot_life``, ``space_of``; for ``lmdb`` also
            ``map_size``.

    Raises:
        DataDirectoryError: The directory can't be used.
        ValueError: There is no such engine or policy.
    """
    if kind == "memory":
        options.pop("map_size", None)
        return MemoryEngine(**options)
    if kind != "lmdb":
        raise ValueError(f"the engines are {' and '.join(ENGINES)}; got {kind!r}")
    if path is None:
        raise ValueError("the engine lmdb needs a data directory")
    from ._lmdb import LmdbEngine

    return LmdbEngine(Path(path), fsync=fsync, **options)
