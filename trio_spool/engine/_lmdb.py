"""The durable engine: one LMDB environment in a data directory.

Three named databases: the items, by key; those that expire, by time and key; and the state.

Growing the map invalidates every transaction of the process, and LMDB does its work without the interpreter lock; so whoever
reads holds the lock of a `Reading` while inside LMDB, and growing takes all of these locks. It is rare: the map is reserved large,
which costs address space and nothing else.
"""

from __future__ import annotations

import errno
import logging
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import lmdb

from ._copying import copy_environment
from ._directory import DirectoryLock, begin_directory, check_database, check_directory, finish_directory
from ._engine import Engine, EngineStatistics, Wake
from ._errors import DataDirectoryError, EngineClosedError
from ._lmdb_reading import (
    RECORD_SIZE,
    STATE,
    STATE_KEY,
    LmdbReader,
    LmdbSnapshot,
    Reading,
    item_of,
    record_of,
    unpack_record,
)
from ._operations import Entry, Item, Problem, Space
from ._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, split_extended
from ._snapshots import SnapshotRegistry
from ._transaction import SpaceOf, State, Transaction

_log = logging.getLogger("trio_spool.engine")

_EXPIRY = struct.Struct(">Q")
_SPACE = struct.Struct(">QQ")
# What begins the keys of spaces, and of what is remembered, in the third database.
_SPACE_KEY = b"space:"
_MEMORY_KEY = b"memory:"

# Address space reserved for the map, in bytes. On Linux and macOS the file grows only as pages are used.
DEFAULT_MAP = (1 << 38) if sys.maxsize > 1 << 32 else (1 << 30)
# Readers other than snapshots: event loops' threads, and walks, which hold a slot for one chunk.
SPARE_READERS = 256
# What is raised if a database is not what we have written.
_DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.IncompatibleError, lmdb.BadDbiError, struct.error)
# Seconds between two syncs of `everysec`.
SYNC_INTERVAL = 1.0


class LmdbEngine(Engine):
    """Items in LMDB."""

    kind = "lmdb"

    def __init__(
        self,
        path: Path,
        *,
        fsync: str = "always",
        wake: Wake | None = None,
        clock: Callable[[], float] = time.time,
        expiry_interval: float = 1.0,
        max_snapshots: int = 64,
        max_snapshot_life: float = 180.0,
        map_size: int = DEFAULT_MAP,
        space_of: SpaceOf = lambda key: b"",
    ) -> None:
        if fsync not in ("always", "everysec", "no"):
            raise ValueError(f"fsync is 'always', 'everysec' or 'no'; got {fsync!r}")
        super().__init__(wake=wake, clock=clock, expiry_interval=expiry_interval, space_of=space_of)
        check_directory(path)  # a lock in it is the first thing that is written there
        self._directory = DirectoryLock(path)
        try:
            self.identity, is_new = begin_directory(path, self.kind)
            check_database(path, is_new)
            self._open(path, map_size, fsync, max_snapshots, max_snapshot_life)
            if is_new:
                finish_directory(path)
            self._thread.start()
        except BaseException:
            self._close_files()
            raise

    def _open(self, path: Path, map_size: int, fsync: str, max_snapshots: int, max_snapshot_life: float) -> None:
        self.fsync = fsync
        self.durable = fsync == "always"
        self.registry = SnapshotRegistry(max_snapshots, max_snapshot_life)
        self._map_growths = 0
        self._synced_at = time.monotonic()
        self._unsynced = False
        self._closed = False
        self._readings: weakref.WeakSet[Reading] = weakref.WeakSet()
        self._readings_lock = threading.Lock()
        self.env = self._open_environment(path, map_size, max_snapshots + SPARE_READERS)
        try:
            self._open_databases()
        except (lmdb.Error, struct.error) as exc:
            raise _not_opened(path, exc) from exc

    def _open_databases(self) -> None:
        self.items = self.env.open_db(b"items")
        self.by_expiry = self.env.open_db(b"expiry")
        self.meta = self.env.open_db(b"meta")
        with self.env.begin(db=self.meta) as transaction:
            stored = transaction.get(STATE_KEY)
            self._load(transaction)
        if stored is not None:
            self._state = State(*STATE.unpack(stored))
        else:
            self.env.sync(True)  # whatever the policy is: that there is a database is what the marker will say

    def _load(self, transaction: lmdb.Transaction[bytes]) -> None:
        """Read what is known beside the items."""
        spaces: dict[bytes, Space] = {}
        memories: dict[bytes, bytes] = {}
        for key, value in transaction.cursor():
            if key.startswith(_SPACE_KEY):
                spaces[key[len(_SPACE_KEY) :]] = Space(*_SPACE.unpack(value))
            elif key.startswith(_MEMORY_KEY):
                memories[key[len(_MEMORY_KEY) :]] = value
        self._shared = self._shared._replace(spaces=spaces, memories=memories)

    def _open_environment(self, path: Path, map_size: int, readers: int) -> lmdb.Environment:
        durable = self.fsync == "always"
        while True:
            try:
                return lmdb.open(
                    str(path), map_size=map_size, max_dbs=8, max_readers=readers, sync=durable, metasync=durable,
                    readahead=False,
                )  # fmt: skip
            except (lmdb.MemoryError, MemoryError, OverflowError):
                if map_size <= 1 << 20:
                    raise
                map_size //= 2  # less address space than that: it will grow when it must
            except lmdb.Error as exc:
                if getattr(exc, "code", None) == errno.ENOMEM and map_size > 1 << 20:
                    map_size //= 2
                    continue
                raise _not_opened(path, exc) from exc

    # Reading

    def reading(self) -> Reading:
        reading = Reading(self)
        with self._readings_lock:
            self._readings.add(reading)
        return reading

    def open_reader(self) -> Reader:
        return LmdbReader(self)

    def snapshot(self, *, keys_only: bool = False, xattrs: bool = False) -> Snapshot:
        if self._closing:
            raise EngineClosedError("the engine is closed")
        self.registry.end_old()
        self.registry.check_room()
        snapshot = LmdbSnapshot(self, keys_only, xattrs)
        self.registry.add(snapshot)
        return snapshot

    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        reading = self.reading()
        while True:
            chunk, start = self._entries_chunk(reading, start)
            yield from chunk
            if not start:
                return

    def _entries_chunk(self, reading: Reading, start: bytes) -> tuple[list[tuple[bytes, Entry]], bytes]:
        """Return some entries, and the key to go on from; empty at the end."""
        now = self._clock()
        chunk: list[tuple[bytes, Entry]] = []
        with reading.lock:
            if self._closing:
                raise EngineClosedError("the engine is closed")
            if self.flushed(now):
                return [], b""
            with self.env.begin(db=self.items, buffers=True) as transaction, transaction.cursor() as cursor:
                if not cursor.set_range(start):
                    return [], b""
                for count, (key, record) in enumerate(cursor):
                    if count == CHUNK_RECORDS:
                        return chunk, bytes(key)
                    datatype, flags, expiry, cas, seqno = unpack_record(record)
                    size = len(record) - RECORD_SIZE
                    if datatype >= EXTENDED:
                        datatype &= ~EXTENDED
                        size = len(split_extended(record, RECORD_SIZE)[1])
                    if not 0 < expiry <= now:
                        chunk.append((bytes(key), Entry(size, flags, expiry, datatype, cas, seqno)))
        return chunk, b""

    def copy(self, take: Callable[[bytes], object]) -> None:
        reading = self.reading()
        with reading.lock:
            if self._closing:
                raise EngineClosedError("the engine is closed")
            copy_environment(self.env, take)

    def statistics(self) -> EngineStatistics:
        with self._readings_lock:
            if self._closing:
                raise EngineClosedError("the engine is closed")
            info = self.env.info()
            with self.env.begin(db=self.items) as transaction:
                stat = transaction.stat(self.items)
        return EngineStatistics(
            kind=self.kind, fsync=self.fsync, items=stat["entries"], disk_bytes=(info["last_pgno"] + 1) * stat["psize"],
            map_bytes=info["map_size"], map_growths=self._map_growths, seqno=self._state.seqno,
            snapshots=len(self.registry), snapshots_ended=self.registry.ended, operations=self._operations,
            commits=self._commits, largest_group=self._largest_group, commit_seconds=self._commit_seconds,
            queued=len(self._queue), queued_bytes=self._queued_bytes, expired=self._expired,
        )  # fmt: skip

    def now(self) -> float:
        return self._clock()

    # Writing

    def _begin(self) -> Transaction:
        return _LmdbTransaction(self)

    def _recover(self, error: Exception) -> bool:
        if isinstance(error, lmdb.MapFullError):
            self._grow()
            return True
        return False

    def _grow(self) -> None:
        with self._readings_lock:
            readings = list(self._readings)
            for reading in readings:
                reading.lock.acquire()
            try:
                for reading in readings:
                    reading.end()
                self.env.set_mapsize(self.env.info()["map_size"] * 2)
                self._map_growths += 1
            finally:
                for reading in readings:
                    reading.lock.release()

    def _problem_of(self, error: Exception) -> Problem:
        if isinstance(error, (lmdb.DiskError, lmdb.MapFullError, MemoryError)):
            return Problem.NO_SPACE
        code = getattr(error, "code", None) or getattr(error, "errno", None)
        full = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.ENOMEM)
        if code in full or any(errno.errorcode[number] in str(error) for number in full):
            return Problem.NO_SPACE
        if isinstance(error, lmdb.Error) and any(word in str(error) for word in ("No space", "too large", "quota")):
            return Problem.NO_SPACE
        return Problem.FAILED

    def _sync_in_thread(self) -> None:
        self.registry.end_old()
        now = time.monotonic()
        if self.fsync == "everysec" and self._unsynced and now - self._synced_at >= SYNC_INTERVAL:
            self._synced_at = now
            self._unsynced = False
            try:
                self.env.sync(True)
            except lmdb.Error:
                # Without its thread, everybody who writes would wait for ever.
                _log.exception("syncing the database failed; it is tried again")
                self._unsynced = True

    def committed(self) -> None:
        self._unsynced = True

    def close(self) -> None:
        super().close()
        self.registry.end_all()
        with self._readings_lock:
            readings = list(self._readings)
            for reading in readings:
                with reading.lock:
                    reading.end()
            if not self._closed:
                self._closed = True
                try:
                    if self.fsync == "everysec":
                        self.env.sync(True)
                finally:
                    self._close_files()

    def _close_files(self) -> None:
        env = getattr(self, "env", None)  # there is none if it could not be opened
        try:
            if env is not None:
                env.close()
        finally:
            self._directory.release()


def _not_opened(path: Path, error: Exception) -> DataDirectoryError:
    hint = "; it is damaged: restore a backup" if isinstance(error, _DAMAGED) else ""
    return DataDirectoryError(f"can't open the database in {path}: {error}{hint}")


class _LmdbTransaction(Transaction):
    def __init__(self, engine: LmdbEngine) -> None:
        self._engine = engine
        self._transaction = engine.env.begin(write=True, db=engine.items)

    def get(self, key: bytes) -> Item | None:
        record = self._transaction.get(key)
        return None if record is None else item_of(record)

    def put(self, key: bytes, item: Item, old: Item | None) -> None:
        old_expiry = old.expiry if old is not None else 0
        if old_expiry != item.expiry:
            if old_expiry:
                self._transaction.delete(_EXPIRY.pack(old_expiry) + key, db=self._engine.by_expiry)
            if item.expiry:
                self._transaction.put(_EXPIRY.pack(item.expiry) + key, b"", db=self._engine.by_expiry)
        self._transaction.put(key, record_of(item))

    def delete(self, key: bytes, old: Item) -> None:
        if old.expiry:
            self._transaction.delete(_EXPIRY.pack(old.expiry) + key, db=self._engine.by_expiry)
        self._transaction.delete(key)

    def clear(self) -> None:
        self._transaction.drop(self._engine.items, delete=False)
        self._transaction.drop(self._engine.by_expiry, delete=False)

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
        self._transaction.put(_MEMORY_KEY + name, value, db=self._engine.meta)

    def expired(self, now: float, limit: int) -> list[bytes]:
        keys: list[bytes] = []
        with self._transaction.cursor(db=self._engine.by_expiry) as cursor:
            for index_key in cursor.iternext(keys=True, values=False):
                if _EXPIRY.unpack_from(index_key)[0] > now or len(keys) == limit:
                    break
                keys.append(index_key[_EXPIRY.size :])
        return keys

    def commit(self, state: State, spaces: Mapping[bytes, Space] | None) -> None:
        meta = self._engine.meta
        self._transaction.put(STATE_KEY, STATE.pack(*state), db=meta)
        if spaces is not None:
            before = self._engine.spaces
            for space, held in spaces.items():
                if before.get(space) != held:
                    self._transaction.put(_SPACE_KEY + space, _SPACE.pack(*held), db=meta)
            for space in before.keys() - spaces.keys():
                self._transaction.delete(_SPACE_KEY + space, db=meta)
        self._transaction.commit()
        self._engine.committed()

    def abort(self) -> None:
        self._transaction.abort()
