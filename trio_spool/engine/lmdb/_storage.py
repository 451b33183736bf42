"""An LMDB environment as a store: its databases, its map, and its syncs.

Three named databases: the items, by key; those that expire, by time and key; and the state.

Growing the map invalidates every transaction of the process, and LMDB does its work without the interpreter lock. So whoever reads
holds the lock of a `Reading` while inside LMDB, and growing takes all of these locks. It is rare: the map is reserved large, which
costs address space and nothing else.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from .._errors import EngineClosedError
from .._operations import Space
from .._storage import Recovered, State, Storage, Transaction
from ._mapping import MAPPED, MapErrors, MapFullError, map_errors
from ._opening import DEFAULT_MAP, OpenEnvironment, not_opened, open_largest
from ._records import MEMORY_KEY, SPACE, SPACE_KEY, STATE, STATE_KEY
from ._transaction import Databases, LmdbTransaction

_log = logging.getLogger("trio_spool.engine")

# Slots for readers other than snapshots: event loops' threads, and walks, which hold a slot for one chunk. Picked, not measured.
SPARE_READERS = 256
# Seconds between two syncs of `everysec`, as its name says.
SYNC_INTERVAL = 1.0


class Reading:
    """A read transaction that can be taken away while nobody is inside LMDB with it.

    Attributes:
        lock: Whoever is inside LMDB with the transaction holds it.
        transaction: The transaction, if there is one. It is changed with the lock held.
    """

    def __init__(self, storage: LmdbStorage) -> None:
        self._storage = storage
        self.lock = threading.Lock()
        self.transaction: lmdb.Transaction[Any] | None = None

    def begin(self, *, buffers: bool = False) -> lmdb.Transaction[Any]:
        """Begin a transaction. The lock must be held.

        Args:
            buffers: Whether to read views of the map, in place of bytes.

        Raises:
            EngineClosedError: The environment is closed.
        """
        storage = self._storage
        if storage.closing:
            raise EngineClosedError
        self.transaction = storage.env.begin(db=storage.databases.items, buffers=buffers)  # type: ignore[call-overload]
        return self.transaction

    def end(self) -> None:
        """End the transaction, if there is one. The lock must be held."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None


class Usage(NamedTuple):
    """What an environment holds, and the room that it takes.

    Attributes:
        items: The number of items.
        disk: The bytes of the file that have been used.
        live: The bytes that the last commit needs. The list of free pages does not count.
        map: The bytes of address space that are reserved.
    """

    items: int
    disk: int
    live: int
    map: int


class LmdbStorage(Storage):
    """An LMDB environment.

    Args:
        path: The data directory.
        fsync: The policy: ``always``, ``everysec`` or ``no``.
        map_size: Bytes of address space to reserve; None for the default.
        max_snapshots: The maximum number of snapshots, each of which needs a slot for readers.
        open_environment: Stands in for `lmdb.open`.
        sync_interval: Seconds between two syncs of ``everysec``.

    Attributes:
        env: The environment.
        databases: Its named databases.
        closing: Whether reading is over.
        map_growths: How often the map has grown.

    Raises:
        DataDirectoryError: The database does not open.
    """

    def __init__(
        self,
        path: Path,
        *,
        fsync: str,
        map_size: int | None,
        max_snapshots: int,
        open_environment: OpenEnvironment,
        sync_interval: float,
    ) -> None:
        self._fsync = fsync
        self._sync_interval = sync_interval
        self._synced_at = time.monotonic()
        self._unsynced = False  # the writer thread's, like the line before
        self.closing = False
        self._closed = False
        self.map_growths = 0
        self._readings: weakref.WeakSet[Reading] = weakref.WeakSet()
        self._readings_lock = threading.Lock()
        durable = fsync == "always"
        settings = {"max_dbs": 8, "max_readers": max_snapshots + SPARE_READERS, "sync": durable, "metasync": durable}
        self.env = open_largest(open_environment, path, map_size or DEFAULT_MAP, settings)
        try:
            self.databases = Databases(*(self.env.open_db(name) for name in (b"items", b"expiry", b"meta")))
            self._recovered = self._recover_state()
        except BaseException as exc:
            self.env.close()
            if isinstance(exc, (*MAPPED, struct.error)):
                raise not_opened(path, exc) from exc
            raise

    def _recover_state(self) -> Recovered:
        state = None
        spaces: dict[bytes, Space] = {}
        memories: dict[bytes, bytes] = {}
        with self.env.begin(db=self.databases.meta) as transaction, transaction.cursor() as cursor:
            for key, value in cursor:
                if key == STATE_KEY:
                    state = State(*STATE.unpack(value))
                elif key.startswith(SPACE_KEY):
                    spaces[key[len(SPACE_KEY) :]] = Space(*SPACE.unpack(value))
                elif key.startswith(MEMORY_KEY):
                    memories[key[len(MEMORY_KEY) :]] = value
        if state is None:
            self.env.sync(True)  # whatever the policy is: the marker of the directory will say that there is a database
        return Recovered(state or State(), spaces, memories)

    # For all threads

    def reading(self) -> Reading:
        """Return a new reading, without a transaction."""
        reading = Reading(self)
        with self._readings_lock:
            self._readings.add(reading)
        return reading

    def measure(self) -> Usage:
        """Return what is stored, and the room that it takes.

        Raises:
            EngineClosedError: The environment is closed.
            StorageError: LMDB failed.
        """
        with self._readings_lock, map_errors:  # the map can't grow meanwhile
            if self.closing:
                raise EngineClosedError
            info = self.env.info()
            with self.env.begin(db=self.databases.items) as transaction:
                stats = [self.env.stat(), *map(transaction.stat, self.databases)]
        page = stats[0]["psize"]
        live = 2 + sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)  # and two meta pages
        return Usage(stats[1]["entries"], (info["last_pgno"] + 1) * page, live * page, info["map_size"])

    def forget_dead_readers(self) -> None:
        """Give up what processes that have died were reading: it would be kept for ever.

        Raises:
            StorageError: LMDB failed.
        """
        with map_errors:
            self.env.reader_check()

    # For the writer thread

    def load(self) -> Recovered:
        return self._recovered

    def begin(self) -> Transaction:
        return LmdbTransaction(self.env.begin(write=True, db=self.databases.items), self.databases, self._committed)

    def map_errors(self) -> MapErrors:
        return map_errors

    def recover(self, error: Exception) -> bool:
        if isinstance(error, MapFullError):
            self._grow()
            return True
        return False

    def _committed(self) -> None:
        self._unsynced = True

    def _grow(self) -> None:
        with self._readings_lock:
            readings = list(self._readings)
            for reading in readings:
                reading.lock.acquire()
            try:
                for reading in readings:
                    reading.end()
                self.env.set_mapsize(self.env.info()["map_size"] * 2)
                self.map_growths += 1
            finally:
                for reading in readings:
                    reading.lock.release()

    def sync_if_due(self) -> None:
        """Sync what was committed, if the policy is ``everysec`` and the last sync was long ago."""
        now = time.monotonic()
        if self._fsync == "everysec" and self._unsynced and now - self._synced_at >= self._sync_interval:
            self._synced_at = now
            self._unsynced = False
            try:
                self.env.sync(True)
            except MAPPED:
                # Without the writer thread, everybody who writes would wait for ever.
                _log.exception("syncing the database failed; it is tried again")
                self._unsynced = True

    # For the thread that closes the engine

    def close(self) -> None:
        """End all reading, and close the environment. Nobody writes any more. Harmless if it was called before.

        Raises:
            StorageError: What was committed could not be synced. The environment is closed all the same.
        """
        self.closing = True
        with self._readings_lock:
            for reading in list(self._readings):
                with reading.lock:
                    reading.end()
            if self._closed:
                return
            self._closed = True
            try:
                if self._fsync == "everysec":
                    with map_errors:
                        self.env.sync(True)
            finally:
                self.env.close()
