"""The engines by name, and opening one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ._interface import Engine, EngineOptions
from .memory import MemoryEngine


@attrs.frozen
class EngineKind:
    """A kind of engine: one of `ENGINES`, or one that a program brings itself.

    Attributes:
        name: The name of the engine, in settings and in the marker of a data directory.
        needs_directory: Whether the engine keeps its data in a directory, which `EngineOptions.directory` must then name.
        open: Opens an engine. It may block, and raises EngineError if it fails.
    """

    name: str
    needs_directory: bool
    open: Callable[[EngineOptions], Engine]


def _open_lmdb(options: EngineOptions) -> Engine:
    from .lmdb._compacting import compact_before_opening
    from .lmdb._engine import LmdbEngine  # only a program that opens one has to load LMDB

    if options.compact and options.directory is not None:
        compact_before_opening(options.directory, allow_network=options.allow_network)
    return LmdbEngine(options)


# The engines by name. Looking one up loads none of the libraries that it is built on.
ENGINES: Mapping[str, EngineKind] = {
    "lmdb": EngineKind("lmdb", needs_directory=True, open=_open_lmdb),
    "memory": EngineKind("memory", needs_directory=False, open=MemoryEngine),
}


def find_engine(engine: str | EngineKind) -> EngineKind:
    """Return the kind of engine with a name. A kind is returned as it is.

    Raises:
        ValueError: No engine has that name.
    """
    if isinstance(engine, EngineKind):
        return engine
    kind = ENGINES.get(engine)
    if kind is None:
        raise ValueError(f"no engine is named {engine!r}: choose {' or '.join(ENGINES)}")
    return kind


def open_engine(engine: str | EngineKind, path: Path | None = None, *, fsync: str = "always", **options: Any) -> Engine:
    """Open an engine.

    Args:
        engine: The name of one of `ENGINES`, or a kind of your own.
        path: The data directory, if the engine needs one; it is made if it is missing.
        fsync: When ``lmdb`` forces what it wrote to the disk. A crash of the process loses nothing that was acknowledged, with
            any of these. A crash of the machine loses nothing with ``always``, which syncs every commit before it is answered;
            the last second or so with ``everysec``; and with ``no``, everything, since nobody knows which pages are old: such a
            directory is refused.
        options: The other attributes of `EngineOptions`.

    Raises:
        DataDirectoryError: The directory can't be used.
        ValueError: The engine or the policy is not known, or a directory is missing.
    """
    kind = find_engine(engine)
    directory = None if path is None else Path(path)
    return kind.open(EngineOptions(directory=directory, fsync=fsync, **options))
