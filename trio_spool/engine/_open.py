"""The engines by name, and how one is opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ._engine import Engine, Wake
from ._memory import MemoryEngine
from ._transaction import SpaceOf


def _one_space(key: bytes) -> bytes:
    """Count all keys as one space."""
    return b""


@attrs.frozen(kw_only=True)
class EngineOptions:
    """What every engine is opened with. An engine ignores the options that mean nothing to it.

    Attributes:
        directory: The data directory, made if it is missing; None for engines that need none.
        fsync: When what was written is forced to the disk: ``always``, ``everysec`` or ``no``.
        wake: Calls a function, given to it in the writer thread, where the answers are wanted: once for each group of operations.
            None calls it in the writer thread.
        clock: Returns the Unix time in seconds.
        expiry_interval: Seconds between two searches for expired items.
        max_snapshots: The maximum number of open snapshots.
        max_snapshot_life: Seconds after which a snapshot is ended.
        space_of: Returns the part of a key by which `Engine.spaces` counts items.
        map_size: Bytes of address space that LMDB reserves at first; None for its default.
    """

    directory: Path | None = None
    fsync: str = "always"
    wake: Wake | None = None
    clock: Callable[[], float] = time.time
    expiry_interval: float = 1.0
    max_snapshots: int = 64
    max_snapshot_life: float = 180.0
    space_of: SpaceOf = _one_space
    map_size: int | None = None


@attrs.frozen
class EngineKind:
    """An engine that can be opened: one of `ENGINES`, or one that a program brings itself.

    Attributes:
        name: Its name, in settings and in the mark of a data directory.
        needs_directory: Whether it keeps its data in a directory, which `EngineOptions.directory` must then name.
        open: Opens one. It may block, and raises EngineError if it fails.
    """

    name: str
    needs_directory: bool
    open: Callable[[EngineOptions], Engine]


def _open_lmdb(options: EngineOptions) -> Engine:
    from ._lmdb import DEFAULT_MAP, LmdbEngine  # only a program that opens one has to load LMDB

    if options.directory is None:
        raise ValueError("the engine lmdb needs a data directory")
    return LmdbEngine(
        options.directory, fsync=options.fsync, wake=options.wake, clock=options.clock,
        expiry_interval=options.expiry_interval, max_snapshots=options.max_snapshots,
        max_snapshot_life=options.max_snapshot_life, space_of=options.space_of,
        map_size=DEFAULT_MAP if options.map_size is None else options.map_size,
    )  # fmt: skip


def _open_memory(options: EngineOptions) -> Engine:
    return MemoryEngine(
        wake=options.wake, clock=options.clock, expiry_interval=options.expiry_interval, max_snapshots=options.max_snapshots,
        max_snapshot_life=options.max_snapshot_life, space_of=options.space_of,
    )  # fmt: skip


# By name. Looking an engine up here loads no library that it is built on.
ENGINES: Mapping[str, EngineKind] = {
    "lmdb": EngineKind("lmdb", needs_directory=True, open=_open_lmdb),
    "memory": EngineKind("memory", needs_directory=False, open=_open_memory),
}


def find_engine(engine: str | EngineKind) -> EngineKind:
    """Return the kind of a name; a kind is returned as it is.

    Raises:
        ValueError: No engine has that name.
    """
    if isinstance(engine, EngineKind):
        return engine
    kind = ENGINES.get(engine)
    if kind is None:
        raise ValueError(f"the engines are {' and '.join(ENGINES)}; got {engine!r}")
    return kind


def open_engine(engine: str | EngineKind, path: Path | None = None, *, fsync: str = "always", **options: Any) -> Engine:
    """Open an engine.

    Args:
        engine: The name of one of `ENGINES`, or a kind of your own.
        path: The data directory, if the engine needs one; it is made if it is missing.
        fsync: When ``lmdb`` forces what it wrote to the disk. A crash of the process loses nothing that was acknowledged, whichever
            it is. A crash of the machine loses nothing with ``always``, which syncs every commit before it is answered; the
            last second or so with ``everysec``; what the operating system had not written yet with ``no``. With the last two, a
            file system that reorders writes can leave the database damaged.
        options: The other attributes of `EngineOptions`.

    Raises:
        DataDirectoryError: The directory can't be used.
        ValueError: There is no such engine or policy.
    """
    kind = find_engine(engine)
    directory = None if path is None else Path(path)
    return kind.open(EngineOptions(directory=directory, fsync=fsync, **options))
