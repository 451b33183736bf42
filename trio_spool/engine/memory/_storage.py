"""A dict as a store, with transactions."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Mapping
from typing import Final

from .._operations import Item, Space
from .._storage import Recovered, State, Storage, Transaction

# What an item counts for beside its key, its value and its attributes, in bytes, where a store has a bound: memcached's own header.
# Python's objects take more: see the documentation of ``--max-size``.
OVERHEAD: Final = 48


def cost_of(key: bytes, item: Item) -> int:
    """Return the bytes for which an item counts."""
    return len(key) + len(item.value) + len(item.xattrs) + OVERHEAD


class MemoryStorage(Storage):
    """Items by key.

    Attributes:
        items: The items, always in the same dict. A commit changes it, under the lock.
        by_expiry: Expiries and keys, as a heap. The writer thread alone uses it. Entries stay when an item has got another expiry
            or is gone.
        seqno: The sequence number of the last mutation that `items` has. A commit changes it, under the lock.
        used: The bytes for which the items count. The writer thread alone uses it.
        lock: Held while a commit changes the items. Looking up a single item takes no lock.
    """

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.by_expiry: list[tuple[int, bytes]] = []
        self.seqno = 0
        self.used = 0
        self.lock = threading.Lock()

    def load(self) -> Recovered:
        return Recovered()  # CAS values follow the time, so they do not repeat after a restart here either

    def begin(self) -> Transaction:
        return _MemoryTransaction(self)


class _MemoryTransaction(Transaction):
    """Changes that are kept beside the items until they are committed."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._changes: dict[bytes, Item | None] = {}
        self._cleared = False
        self._used = storage.used
        self._taken: list[tuple[int, bytes]] = []  # from the heap

    def get(self, key: bytes) -> Item | None:
        if key in self._changes:
            return self._changes[key]
        return None if self._cleared else self._storage.items.get(key)

    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        self._changes[key] = item
        self._used += cost_of(key, item) - (0 if old is None else cost_of(key, old))

    def delete(self, key: bytes, old: Item) -> None:
        self._changes[key] = None
        self._used -= cost_of(key, old)

    def clear(self) -> None:
        self._changes.clear()
        self._cleared = True
        self._used = 0

    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        keys = {} if self._cleared else dict.fromkeys(key for key in self._storage.items if key.startswith(prefix))
        keys.update(dict.fromkeys(key for key in self._changes if key.startswith(prefix)))
        return sorted(key for key in keys if self.get(key) is not None)[:limit]

    def remember(self, name: bytes, value: bytes) -> None:
        pass  # nothing needs to be stored: the writer shares what is remembered

    def expired(self, now: float, limit: int) -> list[bytes]:
        heap = self._storage.by_expiry
        keys: dict[bytes, None] = {}  # in order, and each once: an expiry that was changed and changed back is there twice
        while heap and heap[0][0] <= now and len(keys) < limit:
            expiry, key = heapq.heappop(heap)
            self._taken.append((expiry, key))
            item = self.get(key)
            if item is not None and item.expiry == expiry:
                keys[key] = None
        return list(keys)

    def used(self) -> int:
        return self._used

    def cost(self, key: bytes, item: Item) -> int:
        return cost_of(key, item)

    def commit(self, state: State, spaces: Mapping[bytes, Space]) -> None:
        storage = self._storage
        with storage.lock:
            storage.seqno = state.seqno
            storage.used = self._used
            if self._cleared:
                storage.items.clear()
                storage.by_expiry.clear()
            for key, item in self._changes.items():
                if item is None:
                    storage.items.pop(key, None)
                else:
                    old = storage.items.get(key)
                    storage.items[key] = item
                    if item.expiry and (old is None or old.expiry != item.expiry):
                        heapq.heappush(storage.by_expiry, (item.expiry, key))

    def abort(self) -> None:
        self._changes.clear()
        for entry in self._taken:
            heapq.heappush(self._storage.by_expiry, entry)
        self._taken.clear()
