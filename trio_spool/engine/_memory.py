"""An engine that keeps everything in memory, and nothing when it is closed."""

from __future__ import annotations

import heapq
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from ._engine import Engine, EngineStatistics, Wake
from ._errors import EngineClosedError, SnapshotEndedError
from ._operations import RECORD_OVERHEAD, Chunk, Entry, Item, Record, Shown, Space
from ._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, pack_extended
from ._snapshots import SnapshotRegistry
from ._transaction import SpaceOf, State, Transaction

# Keys are sorted in runs of this many, which are merged as they are read: sorting a million at once would hold the
# interpreter for half a second.
RUN = 10_000


class MemoryEngine(Engine):
    """A dict, with the interface of an engine."""

    kind = "memory"

    def __init__(
        self,
        *,
        wake: Wake | None = None,
        clock: Callable[[], float] = time.time,
        expiry_interval: float = 1.0,
        max_snapshots: int = 64,
        max_snapshot_life: float = 180.0,
        space_of: SpaceOf = lambda key: b"",
    ) -> None:
        super().__init__(wake=wake, clock=clock, expiry_interval=expiry_interval, space_of=space_of)
        self.identity = str(uuid.uuid4())  # no other one ever has what is stored here
        # After a restart of the process CAS values go on from the time, so they do not repeat here either.
        self.live: dict[bytes, Item] = {}  # the writer's, changed under the lock
        self.by_expiry: list[tuple[int, bytes]] = []  # the writer's: a heap
        self.lock = threading.Lock()
        self.registry = SnapshotRegistry(max_snapshots, max_snapshot_life)
        self._thread.start()

    def open_reader(self) -> Reader:
        return _MemoryReader(self)

    def get_live(self, key: bytes) -> Item | None:
        item = self.live.get(key)
        if item is None:
            return None
        now = self._clock()
        if 0 < item.expiry <= now or self.flushed(now):
            return None
        return item

    def snapshot(self, *, keys_only: bool = False, xattrs: bool = False) -> Snapshot:
        if self._closing:
            raise EngineClosedError("the engine is closed")
        self.registry.end_old()
        self.registry.check_room()
        now = self._clock()
        with self.lock:
            items = {} if self.flushed(now) else self.live.copy()
            snapshot = _MemorySnapshot(self, items, now, self._state.seqno, keys_only, xattrs)
        self.registry.add(snapshot)
        return snapshot

    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        now = self._clock()
        with self.lock:
            items = {} if self.flushed(now) else self.live.copy()
        for key in _sorted(items, start, None):
            item = self.get_live(key)
            if item is not None:
                value, *rest, _ = item
                yield key, Entry(len(value), *rest)

    def statistics(self) -> EngineStatistics:
        return EngineStatistics(
            kind=self.kind, fsync=self.fsync, items=len(self.live), disk_bytes=0, map_bytes=0, map_growths=0,
            seqno=self._state.seqno, snapshots=len(self.registry), snapshots_ended=self.registry.ended,
            operations=self._operations, commits=self._commits, largest_group=self._largest_group,
            commit_seconds=self._commit_seconds, queued=len(self._queue), queued_bytes=self._queued_bytes,
            expired=self._expired,
        )  # fmt: skip

    def close(self) -> None:
        super().close()
        self.registry.end_all()

    def _begin(self) -> Transaction:
        return _MemoryTransaction(self)

    def _sync_in_thread(self) -> None:
        self.registry.end_old()


def _sorted(items: dict[bytes, Item], start: bytes, end: bytes | None) -> Iterator[bytes]:
    keys = iter(items) if not start and end is None else (k for k in items if k >= start and (end is None or k < end))
    runs = []
    while run := sorted(islice(keys, RUN)):
        runs.append(run)
    return heapq.merge(*runs)


class _MemoryReader(Reader):
    def __init__(self, engine: MemoryEngine) -> None:
        self.get = engine.get_live  # type: ignore[method-assign]

    def get(self, key: bytes) -> Item | None:
        raise AssertionError("replaced in __init__, to save a call")

    def get_many(self, keys: Sequence[bytes], most: int) -> list[Shown | None]:
        items: list[Shown | None] = []
        size = 0
        for key in keys:
            item = self.get(key)
            items.append(item and item.shown())
            size += len(item.value) if item is not None else 0
            if size > most:
                break
        return items

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


class _MemorySnapshot(Snapshot):
    def __init__(
        self, engine: MemoryEngine, items: dict[bytes, Item], now: float, seqno: int, keys_only: bool, xattrs: bool
    ) -> None:
        self._engine = engine
        self._items: dict[bytes, Item] | None = items
        self._keys: list[bytes] | None = None  # in order; made for the first read, whose thread may take the time
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

    def read(self, start: bytes, end: bytes | None, *, most_records: int, most_bytes: int) -> Chunk:
        items = self._items
        if items is None:
            raise SnapshotEndedError("the snapshot was closed, or reached the end of its life, while it was being read")
        if self._keys is None:
            self._keys = list(_sorted(items, b"", None))
        keys = self._keys
        chunk: list[Record] = []
        size = 0
        index = bisect_left(keys, start)
        stop = len(keys) if end is None else bisect_left(keys, end)
        last = min(stop, index + CHUNK_RECORDS)
        while index < last and size < most_bytes and len(chunk) < most_records:
            key = keys[index]
            value, flags, expiry, datatype, cas, seqno, xattrs = items[key]
            index += 1
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
        self._engine.registry.discard(self)


class _MemoryTransaction(Transaction):
    """Changes kept beside the items until they are committed."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._changes: dict[bytes, Item | None] = {}
        self._cleared = False

    def get(self, key: bytes) -> Item | None:
        if key in self._changes:
            return self._changes[key]
        return None if self._cleared else self._engine.live.get(key)

    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        self._changes[key] = item

    def delete(self, key: bytes, old: Item) -> None:
        self._changes[key] = None

    def clear(self) -> None:
        self._changes.clear()
        self._cleared = True

    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        keys = {} if self._cleared else dict.fromkeys(key for key in self._engine.live if key.startswith(prefix))
        keys.update(dict.fromkeys(key for key in self._changes if key.startswith(prefix)))
        return sorted(key for key in keys if self.get(key) is not None)[:limit]

    def remember(self, name: bytes, value: bytes) -> None:
        pass  # what the batch returns is kept

    def expired(self, now: float, limit: int) -> list[bytes]:
        heap = self._engine.by_expiry
        keys: dict[bytes, None] = {}  # in order, and each once: an expiry that was changed and changed back is there twice
        while heap and heap[0][0] <= now and len(keys) < limit:
            expiry, key = heapq.heappop(heap)
            item = self.get(key)
            if item is not None and item.expiry == expiry:
                keys[key] = None
        return list(keys)

    def commit(self, state: State, spaces: Mapping[bytes, Space] | None) -> None:
        engine = self._engine
        with engine.lock:
            if self._cleared:
                engine.live = {}
                engine.by_expiry.clear()
            for key, item in self._changes.items():
                if item is None:
                    engine.live.pop(key, None)
                else:
                    old = engine.live.get(key)
                    engine.live[key] = item
                    if item.expiry and (old is None or old.expiry != item.expiry):
                        heapq.heappush(engine.by_expiry, (item.expiry, key))

    def abort(self) -> None:
        self._changes.clear()
