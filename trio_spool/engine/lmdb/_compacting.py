"""Giving space back: a file of LMDB never shrinks, but a compacted copy can take its place.

The copy is written beside the database, forced to the disk, and compared with it. Then it is renamed, in one step. So whatever ends
the process, and whenever, the directory has the whole old database or the whole new one. What is left of an interrupted copy is
removed by the next compaction or the next start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import attrs

from ..._files import explain, replace_durably, sync_file
from .._directory import MARKER, DirectoryLock
from .._errors import CopyError, DataDirectoryError, EngineError
from .._interface import EngineOptions
from ._database import COMPACTED, DATABASE, READER_TABLE, count_items, remove_compacted

_log = logging.getLogger("trio_spool.engine")

# Seconds between two searches for expired items: none, while a copy is made.
_NEVER = 1e9


@attrs.frozen
class Compacted:
    """What a compaction has done.

    Attributes:
        before: The length of the file before it, in bytes.
        after: The length now.
        items: The number of items, including expired ones that have not been removed yet.
    """

    before: int
    after: int
    items: int


def compact_store(
    path: Path,
    *,
    allow_network: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
    read_copy: Callable[[Path], dict[str, Any]] | None = None,
) -> Compacted:
    """Replace the database of a data directory, which nobody uses, by a compacted copy. Blocks.

    The copy needs as much room as the items do. If this raises, the database is what it was before.

    Args:
        path: The data directory.
        allow_network: Whether it may be on a network file system.
        progress: Called with the bytes that have been written, and those that are expected. What it raises ends the compaction.
        read_copy: Stands in for what reads the copy, to compare it with the database.

    Raises:
        DataDirectoryError: It is not a data directory of this engine, is in use, or its database can't be opened.
        EngineError: LMDB failed, or the copy is not what was copied.
        OSError: The copy can't be written.
    """
    if not (path / MARKER).exists():
        raise DataDirectoryError(f"{path} is not a data directory of trio-spool: it has no {MARKER}; name another one")
    database, copy = path / DATABASE, path / COMPACTED
    try:
        items, before = _copy(path, copy, allow_network, progress, read_copy or _contents_of_file)
        lock = DirectoryLock(path)
        try:
            if _identity(database.stat()) != _identity(before):
                raise DataDirectoryError(f"{path} was used by another process meanwhile; stop that one, and compact again")
            (path / READER_TABLE).unlink(missing_ok=True)  # another program may still be reading the old file with it
            replace_durably(copy, database)
        finally:
            lock.release()
    except BaseException:
        remove_compacted(path)
        raise
    return Compacted(before.st_size, database.stat().st_size, items)


def compact_before_opening(path: Path, *, allow_network: bool) -> None:
    """Compact a data directory that is about to be opened, if that can be done. If not, it is as it was, and the log says why."""
    try:
        done = compact_store(path, allow_network=allow_network)
    except (EngineError, OSError) as exc:
        _log.warning(
            "%s is larger than its bound, and can't be compacted: %s", path, explain(exc) if isinstance(exc, OSError) else exc
        )
    else:
        _log.info("compacted %s from %d to %d bytes", path, done.before, done.after)


def _copy(
    path: Path,
    copy: Path,
    allow_network: bool,
    progress: Callable[[int, int], object],
    read_copy: Callable[[Path], dict[str, Any]],
) -> tuple[int, os.stat_result]:
    """Write a copy of the database to a file, and return the number of its items, and what the database was when it was closed.

    The engine opens the database, since it knows what has to be mended, and what must not be opened.
    """
    from ._engine import LmdbEngine

    engine = LmdbEngine(EngineOptions(directory=path, create=False, allow_network=allow_network, expiry_interval=_NEVER))
    with closing(engine):
        engine.scrubber.close()  # from here on, nothing is written
        expected = engine.storage.measure().live
        with copy.open("wb") as file:
            _keep_owner(file, (path / DATABASE).stat())
            written = 0

            def take(piece: bytes) -> None:
                nonlocal written
                file.write(piece)
                written += len(piece)
                progress(written, max(expected, written))

            engine.copy(take)
            sync_file(file)
        original = _contents(engine.storage.env)
    closed = (path / DATABASE).stat()
    if read_copy(copy) != original:
        raise CopyError(f"the copy of the database in {path} is not what was copied; check the disk and the memory of this machine")
    return original["alive"], closed


def _contents_of_file(path: Path) -> dict[str, Any]:
    import lmdb

    from ._mapping import MAPPED

    try:
        with lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=8) as env:
            return _contents(env)
    except MAPPED as exc:  # a server that was started and stopped meanwhile has removed it, for example
        raise CopyError(f"the copy {path} does not open: {exc}; compact again, with no server on the directory") from exc


def _contents(env: Any) -> dict[str, Any]:
    """Return how many records each database of an environment has, how many are items, and all that is stored beside the items."""
    from ._recovery import IDENTITY

    with env.begin() as transaction:
        names = [name for name, _ in transaction.cursor() if name != IDENTITY]
        databases = {name: env.open_db(name, transaction, create=False) for name in names}
        contents: dict[str, Any] = {name.decode(): transaction.stat(database)["entries"] for name, database in databases.items()}
        contents["alive"] = count_items(transaction, databases[b"items"])
        contents["beside"] = list(transaction.cursor(databases[b"meta"]))
    return contents


def _keep_owner(file: IO[bytes], status: os.stat_result) -> None:
    """Give a file the owner and the permissions of the one that it will replace: the server may run as another user."""
    os.fchmod(file.fileno(), status.st_mode & 0o7777)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(file.fileno(), status.st_uid, status.st_gid)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
