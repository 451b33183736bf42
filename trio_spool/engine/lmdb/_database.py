"""The files of LMDB in a data directory: whether they are whole, and what is in a copy of them."""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..._files import explain
from .._errors import CopyError, DataDirectoryError
from .._tombstones import TOMBSTONE_PREFIX, is_tombstone
from ._file import find_shortage

# The names that LMDB gives to its files.
DATABASE = "data.mdb"
READER_TABLE = "lock.mdb"
FILES = frozenset({DATABASE, READER_TABLE})
# The name of a compacted copy until it is the database.
COMPACTED = DATABASE + ".compact"


def remove_compacted(path: Path) -> None:
    """Remove what an interrupted compaction left in a directory that nobody else uses."""
    with suppress(OSError):
        (path / COMPACTED).unlink(missing_ok=True)


def check_database(path: Path, is_new: bool) -> None:
    """Make sure that the database of a data directory is whole, as far as can be seen without opening it.

    Args:
        path: The directory.
        is_new: Whether the directory was never used; then a database that is not whole is removed.

    Raises:
        DataDirectoryError: The database is missing, empty or too short.
    """
    database = path / DATABASE
    try:
        shortage = find_shortage(database)
        length = database.stat().st_size
        if is_new and shortage is not None:
            database.unlink()
            return
    except FileNotFoundError:
        shortage, length = None, 0
    except OSError as exc:
        raise DataDirectoryError(f"can't read {database}: {explain(exc)}; check who owns it") from exc
    if length == 0 and not is_new:
        state = "is empty" if database.exists() else "is missing"
        raise DataDirectoryError(f"{database} {state}, though {path} was in use; restore a backup, or name another directory")
    if shortage is not None:
        raise DataDirectoryError(f"{database} is damaged: it has {length} bytes, and must have {shortage[1]}; restore a backup")


def count_items(transaction: Any, items: Any) -> int:
    """Return how many items a database has as of a transaction, without tombstones."""
    with transaction.cursor(items) as cursor:
        found = cursor.set_range(TOMBSTONE_PREFIX)
        tombstones = sum(1 for _ in takewhile(is_tombstone, cursor.iternext(keys=True, values=False))) if found else 0
    return int(transaction.stat(items)["entries"]) - tombstones


def count_copy(directory: Path) -> int:
    """Open the copy of a database, without changing it, and return the number of its items.

    Raises:
        CopyError: It does not open.
    """
    import lmdb  # nothing else here needs it

    from ._mapping import MAPPED

    database = directory / DATABASE
    try:
        shortage = find_shortage(database)
    except OSError as exc:
        raise CopyError(f"can't read {database}: {explain(exc)}") from exc
    if shortage is not None:
        raise CopyError(f"the database in {directory} is damaged: it has {shortage[0]} bytes, and must have {shortage[1]}")
    try:
        with lmdb.open(str(directory), readonly=True, lock=False, max_dbs=8) as env:
            items = env.open_db(b"items", create=False)
            with env.begin(db=items) as transaction:
                return count_items(transaction, items)
    except MAPPED as exc:
        raise CopyError(f"the database in {directory} does not open: {exc}") from exc
