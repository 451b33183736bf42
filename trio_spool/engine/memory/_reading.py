"""Reading a dict: single items, and copies of it."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from .._errors import SnapshotEndedError
from .._marking import MARKS
from .._operations import RECORD_OVERHEAD, Chunk, Item, Record, Shown
from .._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, pack_extended
from .._snapshots import SnapshotRegistry
from .._tombstones import read_around
from ._storage import MemoryStorage

# Keys are sorted in runs of this many, which are merged as they are read. Sorting a million keys in one call would hold the
# interpreter for half a second (measured); the length of a run is picked.
RUN = 10_000


def in_order(items: dict[bytes, Item], start: bytes = b"") -> Iterator[bytes]:
    """Yield keys in order, from `start` on."""
    keys = iter(items) if not start else (key for key in items if key >= start)
    runs = []
    while run := sorted(islice(keys, RUN)):
        runs.append(run)
    return heapq.merge(*runs)


class MemoryReader(Reader):
    """Point reads of what is stored at this moment.

    Args:
        storage: The items.
        clock: Returns the Unix time.
        flushed: Returns whether a flush was due at a Unix time.
    """

    def __init__(self, storage: MemoryStorage, clock: Callable[[], float], flushed: Callable[[float], bool]) -> None:
        self._find = storage.items.get
        self._lock = storage.lock
        self._clock = clock
        self._flushed = flushed

    def get(self, key: bytes) -> Item | None:
        if self.used is not None:
            self.used((key,))
        return self._get(key)

    def _get(self, key: bytes) -> Item | None:
        item = self._find(key)
        if item is None:
            return None
        now = self._clock()
        if 0 < item.expiry <= now or self._flushed(now):
            return None
        return item

    def find(self, key: bytes) -> Item | None:
        with self._lock:  # not in the middle of a commit, which might turn one into the other
            return super().find(key)

    def get_many(self, keys: Sequence[bytes], max_bytes: int) -> list[Shown | None]:
        if self.used is not None:
            self.used(keys)
        items: list[Shown | None] = []
        size = 0
        for key in keys:
            item = self._get(key)
            items.append(item and item.shown())
            size += len(item.value) if item is not None else 0
            if size > max_bytes:
                break
        return items

    def release(self) -> None:
        pass  # the next read sees the last commit anyway

    def close(self) -> None:
        pass


class MemorySnapshot(Snapshot):
    """A copy of all items."""

    def __init__(
        self, registry: SnapshotRegistry, items: dict[bytes, Item], now: float, seqno: int, *, keys_only: bool, xattrs: bool
    ) -> None:
        self._registry = registry
        self._items: dict[bytes, Item] | None = items
        self._keys: list[bytes] | None = None  # in order; made by the first read, whose thread may take the time
        self._now = now
        self._seqno = seqno
        self._count = len(items)
        self._keys_only = keys_only
        self._xattrs = xattrs

    @property
    def seqno(self) -> int:
        return self._seqno

    @property
    def count(self) -> int:
        return self._count

    @property
    def ended(self) -> bool:
        return self._items is None

    def read(self, start: bytes, end: bytes | None, *, max_records: int, max_bytes: int) -> Chunk:
        items = self._items
        if items is None:
            raise SnapshotEndedError
        if self._keys is None:
            self._keys = list(in_order(items))
        return read_around(partial(self._read, self._keys, items, max_records, max_bytes), start, end)

    def _read(
        self, keys: list[bytes], items: dict[bytes, Item], max_records: int, max_bytes: int, start: bytes, end: bytes | None
    ) -> Chunk:
        chunk: list[Record] = []
        size = 0
        index = bisect_left(keys, start)
        stop = len(keys) if end is None else bisect_left(keys, end)
        last = min(stop, index + CHUNK_RECORDS)
        while index < last and size < max_bytes and len(chunk) < max_records:
            key = keys[index]
            value, flags, expiry, datatype, cas, seqno, xattrs = items[key]
            index += 1
            datatype &= ~MARKS
            if not 0 < expiry <= self._now:
                if self._keys_only:
                    value = b""
                elif xattrs and self._xattrs:
                    value, datatype = pack_extended(xattrs, value), datatype | EXTENDED
                chunk.append((key, value, flags, expiry, datatype, cas, seqno))
                size += len(key) + len(value) + RECORD_OVERHEAD
        return Chunk(chunk, keys[index] if index < stop else None, size)

    def close(self) -> None:
        self._items = self._keys = None
        self._registry.discard(self)
