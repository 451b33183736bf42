"""Write transactions of LMDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import lmdb

from .._damage import DamageLog
from .._operations import Item, Space
from .._storage import DamagedItemError, State, Transaction
from ._probing import TreeProbe
from ._records import (
    CHECKED_MEMORY_KEY,
    EXPIRY,
    MEMORY_KEY,
    OVERHEAD,
    RECORD_SIZE,
    SPACE_KEY,
    STATE_KEY,
    item_of,
    pack_memory,
    pack_space,
    pack_state,
    record_of,
    unpack_expiry,
    with_checksum,
)

# What LMDB adds to a key and a record, in bytes: the header of an entry, and its place in the page.
_ENTRY: Final = 10
# Pages have 4 KiB nearly everywhere, and a header of 16 bytes. Two entries must fit in one, so larger records have pages of their
# own, and only the number of the first one is in the entry.
PAGE: Final = 4096
_HEADER: Final = 16
_MAX_INLINE: Final = 2038
_NUMBER: Final = 8
# Pages that each commit replaces, beside those of its items: the ways from the roots to them, and those of the list of free pages.
# Picked, not measured.
_LEAST_PAGES: Final = 16
# The part of its pages that a tree fills. Measured, with keys in random order: 69 %.
_FULL: Final = 0.69


def entry_size(key: int, record: int) -> int:
    """Return the bytes that an item takes in a page of the tree, given those of its key and of its record."""
    return key + _ENTRY + (record if key + record + 8 <= _MAX_INLINE else _NUMBER)


def cost_of(key: int, record: int) -> int:
    """Return about how many bytes an item takes in all, given those of its key and of its record."""
    pages = 0 if key + record + 8 <= _MAX_INLINE else (_HEADER + record + PAGE - 1) // PAGE
    return int(entry_size(key, record) / _FULL) + pages * PAGE


class Databases(NamedTuple):
    """The named databases of an environment.

    Attributes:
        items: Records of items, by key.
        by_expiry: Nothing, by the expiry of an item and its key.
        meta: The state, the spaces, and what is remembered.
    """

    items: Any
    by_expiry: Any
    meta: Any


class LmdbTransaction(Transaction):
    """A write transaction.

    Args:
        transaction: The transaction of LMDB, on the database of items.
        databases: All databases.
        committed: Called after a commit, with the new state and about how many pages it has replaced.
        damage: Is told of damaged records.
        all_checked: Whether every record has a checksum.
        probe: Looks at pages: see `LmdbStorage.probe`.
    """

    def __init__(
        self,
        transaction: lmdb.Transaction[bytes],
        databases: Databases,
        committed: Callable[[State, int], None],
        damage: DamageLog,
        all_checked: bool,
        probe: Callable[[int, bytes], TreeProbe | None],
    ) -> None:
        self._transaction = transaction
        self._databases = databases
        self._committed = committed
        self._damage = damage
        self._all_checked = all_checked
        self._probe = probe
        self._pages = _LEAST_PAGES

    def get(self, key: bytes) -> Item | None:
        record = self._transaction.get(key)
        if record is None:
            return None
        try:
            # Always verified: what is made of a damaged item would be stored with a checksum that is right.
            return item_of(key, record, True, self._all_checked)
        except DamagedItemError as error:
            self._damage.met(error)
            raise

    def seal(self, keys: Sequence[bytes]) -> int:
        sealed = 0
        for key in keys:
            record = self._transaction.get(key)
            checked = None if record is None else with_checksum(key, record)
            if checked is not None:
                self._transaction.put(key, checked)
                sealed += 1
        return sealed

    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        old_expiry = old.expiry if old is not None else 0
        if old_expiry != item.expiry:
            if old_expiry:
                self._transaction.delete(EXPIRY.pack(old_expiry) + key, db=self._databases.by_expiry)
            if item.expiry:
                self._transaction.put(EXPIRY.pack(item.expiry) + key, b"", db=self._databases.by_expiry)
        record = record_of(key, item)
        self._pages += 1 + len(record) // PAGE
        self._transaction.put(key, record)

    def delete(self, key: bytes, old: Item) -> None:
        if old.expiry:
            self._transaction.delete(EXPIRY.pack(old.expiry) + key, db=self._databases.by_expiry)
        self._pages += 1
        self._transaction.delete(key)

    def clear(self) -> None:
        self._transaction.drop(self._databases.items, delete=False)
        self._transaction.drop(self._databases.by_expiry, delete=False)

    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        keys: list[bytes] = []
        self._look_ahead(b"items", prefix, limit)
        with self._transaction.cursor() as cursor:
            if cursor.set_range(prefix):
                for key in cursor.iternext(keys=True, values=False):
                    if len(keys) == limit or not key.startswith(prefix):
                        break
                    keys.append(key)
        return keys

    def _look_ahead(self, name: bytes, start: bytes, records: int) -> None:
        """Look at pages of the last commit that a walk will meet, as far as this transaction has not changed them.

        Raises:
            DamagedError: One is damaged.
        """
        probe = self._probe(self._transaction.id() - 1, name)
        if probe is not None and probe.look_ahead(start, records) is not None:
            probe.look_at_all()  # raises

    def remember(self, name: bytes, value: bytes) -> None:
        key, meta = CHECKED_MEMORY_KEY + name, self._databases.meta
        self._transaction.put(key, pack_memory(key, value), db=meta)
        self._transaction.delete(MEMORY_KEY + name, db=meta)

    def expired(self, now: float, limit: int) -> list[bytes]:
        keys: list[bytes] = []
        self._look_ahead(b"expiry", b"", limit)
        with self._transaction.cursor(db=self._databases.by_expiry) as cursor:
            for index_key in cursor.iternext(keys=True, values=False):
                (expiry,), key = EXPIRY.unpack_from(index_key), index_key[EXPIRY.size :]
                if expiry > now or len(keys) == limit:
                    break
                record = self._transaction.get(key)
                # Where an item or its entry here is damaged, they may disagree.
                if record is not None and len(record) >= RECORD_SIZE and unpack_expiry(record)[0] == expiry:
                    keys.append(key)
        return keys

    def used(self) -> int:
        pages = 0
        for database in self._databases:
            stat = self._transaction.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * int(stat["psize"])

    def cost(self, key: bytes, item: Item) -> int:
        return cost_of(len(key), OVERHEAD + len(item.value) + (4 + len(item.xattrs) if item.xattrs else 0))

    def commit(self, state: State, spaces: Mapping[bytes, Space]) -> None:
        meta = self._databases.meta
        self._transaction.put(STATE_KEY, pack_state(*state), db=meta)
        for space, held in spaces.items():
            key = SPACE_KEY + space
            if held.items:
                self._transaction.put(key, pack_space(key, *held), db=meta)
            else:
                self._transaction.delete(key, db=meta)
        self._transaction.commit()
        self._committed(state, self._pages)

    def abort(self) -> None:
        self._transaction.abort()
