"""Write transactions of LMDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import lmdb

from .._operations import Item, Space
from .._storage import State, Transaction
from ._records import EXPIRY, MEMORY_KEY, SPACE, SPACE_KEY, STATE, STATE_KEY, item_of, record_of


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
        committed: Called with the new state after a commit.
    """

    def __init__(self, transaction: lmdb.Transaction[bytes], databases: Databases, committed: Callable[[State], None]) -> None:
        self._transaction = transaction
        self._databases = databases
        self._committed = committed

    def get(self, key: bytes) -> Item | None:
        record = self._transaction.get(key)
        return None if record is None else item_of(record)

    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        old_expiry = old.expiry if old is not None else 0
        if old_expiry != item.expiry:
            if old_expiry:
                self._transaction.delete(EXPIRY.pack(old_expiry) + key, db=self._databases.by_expiry)
            if item.expiry:
                self._transaction.put(EXPIRY.pack(item.expiry) + key, b"", db=self._databases.by_expiry)
        self._transaction.put(key, record_of(item))

    def delete(self, key: bytes, old: Item) -> None:
        if old.expiry:
            self._transaction.delete(EXPIRY.pack(old.expiry) + key, db=self._databases.by_expiry)
        self._transaction.delete(key)

    def clear(self) -> None:
        self._transaction.drop(self._databases.items, delete=False)
        self._transaction.drop(self._databases.by_expiry, delete=False)

    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        keys: list[bytes] = []
        with self._transaction.cursor() as cursor:
            if cursor.set_range(prefix):
                for key in cursor.iternext(keys=True, values=False):
                    if len(keys) == limit or not key.startswith(prefix):
                        break
                    keys.append(key)
        return keys

    def remember(self, name: bytes, value: bytes) -> None:
        self._transaction.put(MEMORY_KEY + name, value, db=self._databases.meta)

    def expired(self, now: float, limit: int) -> list[bytes]:
        keys: list[bytes] = []
        with self._transaction.cursor(db=self._databases.by_expiry) as cursor:
            for index_key in cursor.iternext(keys=True, values=False):
                if EXPIRY.unpack_from(index_key)[0] > now or len(keys) == limit:
                    break
                keys.append(index_key[EXPIRY.size :])
        return keys

    def commit(self, state: State, spaces: Mapping[bytes, Space]) -> None:
        meta = self._databases.meta
        self._transaction.put(STATE_KEY, STATE.pack(*state), db=meta)
        for space, held in spaces.items():
            if held.items:
                self._transaction.put(SPACE_KEY + space, SPACE.pack(*held), db=meta)
            else:
                self._transaction.delete(SPACE_KEY + space, db=meta)
        self._transaction.commit()
        self._committed(state)

    def abort(self) -> None:
        self._transaction.abort()
