"""An LMDB environment as a store: its databases, its map, and its syncs.

Three named databases: the items, by key; those that expire, by time and key; and the state.

Growing the map invalidates every transaction of the process, and LMDB does its work without the interpreter lock. So whoever reads
holds the lock of a `Reading` while inside LMDB, and growing takes all of these locks. It is rare: the map is reserved large, which
costs address space and nothing else.

The environment is also closed and opened again in this way, when it has panicked: LMDB does that when it could not write a meta
page, and then refuses everything, also reading. It has put back the older meta page, so the last commit is still there.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb

from ..._files import explain
from .._damage import DamageLog
from .._errors import DamagedError, DataDirectoryError, DeviceError, EngineClosedError, LostStoreError, NoSpaceError, StorageError
from .._storage import Recovered, State, Storage, Transaction
from ._database import DATABASE
from ._mapping import MAPPED, MapErrors, MapFullError, map_errors
from ._opening import DEFAULT_MAP, OpenEnvironment, not_opened, open_largest
from ._power import PowerGuard
from ._probing import TreeProbe, probe_all, probe_database
from ._reading_lock import Reading
from ._records import ALL_CHECKED
from ._recovery import prepare, recover
from ._room import disk_has_room, has_room, larger
from ._transaction import Databases, LmdbTransaction
from ._usage import Usage, measure
from ._watching import FileWatch

# Slots for readers other than snapshots: event loops' threads, and walks, which hold a slot for one chunk. Picked, not measured.
SPARE_READERS = 256
# Seconds between two syncs of `everysec`, as its name says.
SYNC_INTERVAL = 1.0


class LmdbStorage(Storage):
    """An LMDB environment.

    Args:
        path: The data directory.
        fsync: The policy: ``always``, ``everysec`` or ``no``.
        map_size: Bytes of address space to reserve; None for the default.
        max_snapshots: The maximum number of snapshots, each of which needs a slot for readers.
        open_environment: Stands in for `lmdb.open`.
        sync_interval: Seconds between two syncs of ``everysec``.
        watch_interval: Seconds between two looks at the files.
        power: The session of this run.
        has_room: Stands in for the function of that name.

    Attributes:
        env: The environment. It is replaced while nobody reads.
        databases: Its named databases.
        watch: Looks whether the files are still ours.
        closing: Whether reading is over.
        lost: Whether the store failed, so that another sync would tell nothing, and is left out when it is closed.
        map_growths: How often the map has grown.
        syncs: How often what was committed was synced, if the policy is ``everysec``.
        unsynced: Whether something that was committed is not synced, if the policy is not ``always``. The writer thread's.
        make_room: Called in the writer thread before the map grows. Returns whether there is room in it now.
        damage: What was found damaged.
        errors: A block in which errors of LMDB turn into those of an engine.
        all_checked: Whether every record has a checksum. It is set once, when that has become true.

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
        watch_interval: float,
        power: PowerGuard,
        has_room: Callable[[int], bool] = has_room,
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._power = power
        self._sync_failed = False
        self._unprotected = False  # whether what was synced last may be written over
        self._sync_interval = sync_interval
        self._synced_at = time.monotonic()
        self.unsynced = False  # the writer thread's, like the line before
        self.closing = False
        self._closed = False
        self.lost = False
        self.map_growths = self.syncs = 0
        self.make_room: Callable[[], bool] = lambda: False
        self._has_room = has_room
        self._open_environment = open_environment
        self.damage = DamageLog(str(path))
        self.errors = MapErrors(self.damage)
        self.all_checked = False
        self._readings: weakref.WeakSet[Reading] = weakref.WeakSet()
        self._readings_lock = threading.Lock()
        durable = fsync == "always"
        self._settings = {"max_dbs": 8, "max_readers": max_snapshots + SPARE_READERS, "sync": durable, "metasync": durable}
        self.env = open_largest(open_environment, path, map_size or DEFAULT_MAP, self._settings)
        try:
            self.databases = self._open_databases()
            self._page_size: int = self.env.stat()["psize"]
            self._recovered = recover(self.env, self.databases)
            if self._recovered.state == State():
                prepare(self.env, self.databases)
                self._recovered = recover(self.env, self.databases)
            self.all_checked = ALL_CHECKED in self._recovered.memories
            self._state = self._recovered.state  # of the last commit; the writer thread's
            self.watch = FileWatch(path, interval=watch_interval)
            self._descriptor = os.open(path / DATABASE, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException as exc:
            self.env.close()
            if isinstance(exc, (*MAPPED, struct.error, DamagedError)):
                raise not_opened(path, exc) from exc
            raise

    def _open_databases(self) -> Databases:
        return Databases(*(self.env.open_db(name) for name in (b"items", b"expiry", b"meta")))

    # For all threads

    def reading(self) -> Reading:
        """Return a new reading, without a transaction."""
        reading = Reading(self)
        with self._readings_lock:
            self._readings.add(reading)
        return reading

    def probe(self, transaction: int, name: bytes = b"items") -> TreeProbe | None:
        """Return a probe of a database, as of a transaction that is being read: see `probe_database`.

        Raises:
            DamagedError: The list of databases is damaged.
        """
        return probe_database(self._descriptor, transaction, name)

    def probe_all(self) -> None:
        """Look at all pages, as LMDB is about to copy them.

        Raises:
            DamagedError: One is damaged.
            StorageError: LMDB failed.
        """
        with self.errors, self.env.begin() as transaction:
            probe_all(self._descriptor, transaction.id())

    def measure(self) -> Usage:
        """Return what is stored, and the room that it takes.

        Raises:
            EngineClosedError: The environment is closed.
            StorageError: LMDB failed.
        """
        with self._readings_lock, self.errors:  # the map can't grow meanwhile
            if self.closing:
                raise EngineClosedError
            return measure(self.env, self.databases)

    def length(self) -> int:
        """Return the bytes of the file that have been used, in the writer thread.

        Raises:
            StorageError: LMDB failed.
        """
        with map_errors:
            return int(self.env.info()["last_pgno"] + 1) * self._page_size

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
        if self._unprotected:
            self._protect_checkpoint()
        transaction = self.env.begin(write=True, db=self.databases.items)
        return LmdbTransaction(transaction, self.databases, self._committed, self.damage, self.all_checked, self.probe)

    def map_errors(self) -> MapErrors:
        return self.errors

    def recover(self, error: Exception) -> bool:
        if isinstance(error, MapFullError):
            if not self.make_room():
                self._grow()
            return True
        if self._has_panicked():
            self._mend()
            return isinstance(error.__cause__, lmdb.PanicError)  # else it is the error of a commit, which is refused
        full = not isinstance(error, DeviceError) or not disk_has_room(self._path, self.watch.size)
        if isinstance(error, NoSpaceError) and full and self._fsync == "everysec" and self.unsynced:
            self.checkpoint()  # what was freed since the last one can be used now
            if not self.unsynced:
                return True
        if isinstance(error, DeviceError) and full:
            raise NoSpaceError("there is no room for the database: the disk, the quota, or the limit of a file's size is reached")
        return False

    def _committed(self, state: State, pages: int) -> None:
        self._power.wrote(pages)
        self._state = state
        self.unsynced = True

    @contextmanager
    def nobody_reading(self) -> Iterator[None]:
        """End all transactions that read, and let none begin meanwhile."""
        with self._readings_lock:
            readings = list(self._readings)
            for reading in readings:
                reading.lock.acquire()
            try:
                for reading in readings:
                    reading.end()
                self._unprotected = self._fsync == "everysec"
                yield
            finally:
                for reading in readings:
                    reading.lock.release()

    def _grow(self) -> None:
        """Make the map larger.

        Raises:
            NoSpaceError: There is no address space for it. The map is as it was.
            LostStoreError: The environment does not open again.
        """
        size = self.env.info()["map_size"]
        new_size = larger(size, self._has_room)
        if new_size is None:
            raise NoSpaceError(f"there is no address space for a map of more than {size} bytes: raise the limit (ulimit -v)")
        with self.nobody_reading():
            try:
                self.env.set_mapsize(new_size)
            except MAPPED as exc:
                self._reopen(size)  # LMDB has let go of the old map
                raise NoSpaceError(f"there is no address space for a map of {new_size} bytes: {exc}") from exc
            self.map_growths += 1

    def _has_panicked(self) -> bool:
        try:
            self.env.begin().abort()
        except lmdb.PanicError:
            return True
        except MAPPED:
            pass
        return False

    def _mend(self) -> None:
        """Open an environment again that has panicked.

        Raises:
            LostStoreError: It does not open, or is not as the last commit left it.
        """
        self.watch.look()  # else another database might be opened
        with self.nobody_reading():
            self._reopen(self.env.info()["map_size"])
            if recover(self.env, self.databases).state != self._state:
                raise self._broken("it is not as the last commit left it")

    def _reopen(self, map_size: int) -> None:
        """Close the environment, and open it again, while nobody reads.

        Raises:
            LostStoreError: It does not open.
        """
        self.env.close()
        try:
            self.env = open_largest(self._open_environment, self._path, map_size, {**self._settings, "create": False})
            self.databases = self._open_databases()
        except (DataDirectoryError, *MAPPED) as exc:
            raise self._broken(str(exc)) from exc

    def _broken(self, reason: str) -> LostStoreError:
        self.closing = self.lost = True
        return LostStoreError(f"the database in {self._path} could not be opened again after an error: {reason}")

    def begin_session(self) -> None:
        """Note in the directory that the database is in use. It is open, and nothing has been written to it.

        Raises:
            DataDirectoryError: It can't be noted, or what the last run left can't be synced.
        """
        try:
            self._power.begin(self.env, self.reading)
        except (*MAPPED, OSError) as exc:
            reason = explain(exc) if isinstance(exc, OSError) else str(exc)
            raise DataDirectoryError(
                f"can't write to the data directory {self._path}: {reason}; correct this, and start again"
            ) from exc

    def sync_if_due(self) -> None:
        """Sync what was committed, if the policy is ``everysec`` and the last sync was long ago, or much was written since.

        Raises:
            LostStoreError: It failed. Syncing again would tell nothing: the system reports an error once, and may have dropped what
                it could not write.
        """
        if self._fsync != "everysec" or not self.unsynced:
            return
        if time.monotonic() - self._synced_at >= self._sync_interval or self._power.has_grown(self.env):
            self.checkpoint()

    def _protect_checkpoint(self) -> None:
        """Take a checkpoint, since the transaction that kept the last one from being written over has been ended.

        Raises:
            NoSpaceError: There is no room to note it.
            LostStoreError: It failed.
        """
        self.checkpoint()
        if self.unsynced:
            raise NoSpaceError(f"there is no room to note in {self._path} what was synced")
        self._unprotected = False

    def checkpoint(self) -> None:
        """Sync what was committed, and note that, in the writer thread.

        Raises:
            LostStoreError: It failed.
        """
        self.watch.look()  # else another directory might get the note
        self._synced_at = time.monotonic()
        self.unsynced = False
        try:
            self.unsynced = not self._power.checkpoint(self.env, self.reading())
            self.syncs += 1
        except (*MAPPED, OSError) as exc:
            self.lost = self._sync_failed = True
            raise LostStoreError(
                f"the database in {self._path} could not be synced, so what was written since the last sync may be lost: {exc}"
            ) from exc

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
                self._sync_at_end()
            finally:
                os.close(self._descriptor)
                self.env.close()

    def _sync_at_end(self) -> None:
        """Sync everything, and note that the run has ended well."""
        if not self._power.begun:
            return
        try:
            self.watch.look()
        except LostStoreError:
            return  # nothing there is ours any more
        if self.lost and not self._sync_failed:
            return  # the next start finds that this run has not ended well, and syncs
        try:
            if self._fsync != "always" and not self._sync_failed:
                with map_errors:
                    self.env.sync(True)
        except StorageError:
            self._sync_failed = True
            raise
        finally:
            with suppress(OSError):  # the note stays, and says the same as that of a process that was killed
                self._power.end(failed=self._sync_failed)
