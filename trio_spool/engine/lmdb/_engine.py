"""The durable engine: items in LMDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb

from ..._files import network_file_system
from .._background import BackgroundWork
from .._bound import Bound
from .._directory import DirectoryLock, begin_directory, check_directory, finish_directory, refuse_network, upgrade_directory
from .._errors import EngineClosedError, UnfinishedDirectoryError
from .._interface import EngineOptions
from .._operations import Entry
from .._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot
from .._single_writer import SingleWriterEngine
from .._statistics import CopiedFile, EngineStatistics
from .._tombstones import BEHIND, TOMBSTONE_PREFIX, is_tombstone
from ._bounding import FileBound
from ._copying import copy_environment, make_copy
from ._database import FILES, check_database, remove_compacted
from ._growth import GrowthLimit
from ._opening import OpenEnvironment
from ._power import PowerGuard
from ._probing import begin_probed, until
from ._reading import LmdbReader, LmdbSnapshot
from ._reading_lock import Reading
from ._records import CHECKED, CHECKSUM_SIZE, DATATYPES, RECORD_SIZE, damaged, unpack_record
from ._ring import MAX_LENGTH, MAX_WITH_SNAPSHOTS, LmdbRing
from ._room import has_room
from ._scrub import Scrubber, Submit, verify_all
from ._session import ReadBoot, boot_id
from ._storage import SYNC_INTERVAL, LmdbStorage
from ._watching import INTERVAL as WATCH_INTERVAL

FSYNC_POLICIES = ("always", "everysec", "no")


class LmdbEngine(SingleWriterEngine):
    """An engine that keeps its items in a data directory, which it has for itself.

    Args:
        options: The options of the engine; `directory` is needed.
        open_environment: Stands in for `lmdb.open`.
        sync_interval: Seconds between two syncs of the policy ``everysec``.
        watch_interval: Seconds between two looks at the files.
        read_boot: Returns the name of this boot of the machine.
        has_room: Returns whether there are some more bytes of address space.
        make_scrubber: Stands in for `Scrubber`.
        find_network: Returns the type of the network file system that a path is on.

    Attributes:
        storage: The environment of LMDB.
        scrubber: Verifies all items in the background.

    Raises:
        DataDirectoryError: The directory can't be used.
        ValueError: An option is missing or wrong.
    """

    kind = "lmdb"

    def __init__(
        self,
        options: EngineOptions,
        *,
        open_environment: OpenEnvironment = lmdb.open,
        sync_interval: float = SYNC_INTERVAL,
        watch_interval: float = WATCH_INTERVAL,
        has_room: Callable[[int], bool] = has_room,
        read_boot: ReadBoot = boot_id,
        make_scrubber: Callable[[LmdbStorage, Submit, int], Scrubber] = Scrubber,
        find_network: Callable[[Path], str | None] = network_file_system,
    ) -> None:
        path = options.directory
        if path is None:
            raise ValueError("the engine lmdb needs a data directory")
        if options.fsync not in FSYNC_POLICIES:
            raise ValueError(f"fsync is 'always', 'everysec' or 'no'; got {options.fsync!r}")
        self.fsync = options.fsync
        self.durable = options.fsync == "always"
        self._verify_reads = options.verify_reads
        if not options.allow_network:
            refuse_network(path, find_network)
        # Before anything is written there, and a lock is the first.
        if not check_directory(path, FILES) and not options.create:
            raise UnfinishedDirectoryError(f"{path} has no database: making it was interrupted")
        self._directory = DirectoryLock(path)
        try:
            self.identity, is_new = begin_directory(path, self.kind, FILES)
            power = PowerGuard(path, options.fsync, read_boot)
            if not is_new:
                power.recover()
            check_database(path, is_new)
            remove_compacted(path)
            if not is_new:
                upgrade_directory(path)
            self._power = power
            self.storage = LmdbStorage(
                path, fsync=options.fsync, map_size=options.map_size, max_snapshots=options.max_snapshots,
                open_environment=open_environment, sync_interval=sync_interval, watch_interval=watch_interval, power=power,
                has_room=has_room,
            )  # fmt: skip
            try:
                if is_new:
                    finish_directory(path)
                self.storage.begin_session()
                checks = (self.storage.watch.look_if_due,)
                chores = (self.storage.sync_if_due, self._limit_growth, self._follow_bound)
                super().__init__(self.storage, options, checks, chores, LmdbRing(self.storage))
                self._growth = GrowthLimit(path, self.storage, self.registry, options.max_held_size)
                self.limit_size(options.bound)
                self._file_bound = FileBound(
                    self.storage, self._growth, self.keeper, self.writer.make_room, syncs=self.fsync == "everysec"
                )
                self._follow_bound()
                self.scrubber = make_scrubber(self.storage, self.submit, options.scrub_rate)
                self.writer.start()
                self.scrubber.start()
            except BaseException:
                self.storage.close()
                raise
        except BaseException:
            self._directory.release()
            raise

    def limit_held(self, size: int) -> None:
        self._growth.limit = size

    def limit_size(self, bound: Bound) -> None:
        super().limit_size(bound)
        self._growth.max_length = int(bound.size * MAX_WITH_SNAPSHOTS)
        self._power.max_written = 2 * bound.group_size

    @property
    def wants_compaction(self) -> bool:
        usage, size = self.storage.measure(), self.keeper.bound.size
        return size > 0 and usage.disk > size * MAX_LENGTH and usage.live <= size * MAX_WITH_SNAPSHOTS

    def _follow_bound(self) -> None:
        self._file_bound.follow()

    def _limit_growth(self) -> None:
        self._growth.check()

    def open_reader(self) -> Reader:
        return LmdbReader(self.storage, self._clock, self.writer.flushed, verify=self._verify_reads)

    def _open_snapshot(self, keys_only: bool, xattrs: bool, now: float, flushed: bool) -> Snapshot:
        return LmdbSnapshot(self.storage, self.registry, now, flushed=flushed, keys_only=keys_only, xattrs=xattrs)

    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        reading = self.storage.reading()
        while True:
            chunk, start = self._entries_chunk(reading, BEHIND if is_tombstone(start) else start)
            yield from chunk
            if not start:
                return

    def _entries_chunk(self, reading: Reading, start: bytes) -> tuple[list[tuple[bytes, Entry]], bytes]:
        """Return some entries, and the key to go on from; an empty key at the end."""
        now = self._clock()
        chunk: list[tuple[bytes, Entry]] = []
        with reading.lock, self.storage.errors:
            if self.writer.flushed(now):
                return [], b""
            try:
                transaction, probe = begin_probed(self.storage, reading, buffers=True)
                last = None if probe is None else probe.look_ahead(start, CHUNK_RECORDS)
                with transaction.cursor() as cursor:
                    if not cursor.set_range(start):
                        return [], b""
                    for count, (key, record) in enumerate(until(cursor, last)):
                        if count == CHUNK_RECORDS:
                            return chunk, bytes(key)
                        entry = self._entry(key, record)
                        if not 0 < entry.expiry <= now and key[:1] != TOMBSTONE_PREFIX:
                            chunk.append((bytes(key), entry))
            finally:
                reading.end()
        return chunk, b"" if last is None else last + b"\0"

    def _entry(self, key: memoryview, record: memoryview) -> Entry:
        """Return the entry of a record, which is not verified: its value may be large, and is not read.

        Raises:
            DamagedItemError: The record can't be one.
        """
        if len(record) >= RECORD_SIZE:
            datatype, flags, expiry, cas, seqno = unpack_record(record)
            size = len(record) - RECORD_SIZE
            if datatype & CHECKED:
                size -= CHECKSUM_SIZE
            if datatype & EXTENDED and size >= 4:
                size -= 4 + int.from_bytes(record[RECORD_SIZE : RECORD_SIZE + 4], "big")
            if size >= 0 and (datatype & CHECKED or not self.storage.all_checked):
                return Entry(size, flags, expiry, datatype & DATATYPES, cas, seqno)
        error = damaged(bytes(key), bytes(record), self.storage.all_checked)
        self.storage.damage.met(error)
        raise error

    def copy(self, take: Callable[[bytes], object]) -> None:
        """Give `take` the bytes of a compacted copy of the database, in order. What it raises ends the copying."""
        reading = self.storage.reading()
        with reading.lock:
            if self.storage.closing:
                raise EngineClosedError
            self.storage.probe_all()
            copy_environment(self.storage.env, self._growth.guard(take))

    def copy_files(self, directory: Path, check: Callable[[], None]) -> list[CopiedFile]:
        verify_all(self.storage, check)
        return make_copy(self.copy, self.kind, directory, check)

    def statistics(self) -> EngineStatistics:
        usage = self.storage.measure()
        return self._statistics(
            items=usage.items, disk_bytes=usage.disk, live_bytes=usage.live, max_held_bytes=self._growth.max_held(usage),
            map_bytes=usage.map, map_growths=self.storage.map_growths, damaged=self.storage.damage.count,
            scrubbed=self.scrubber.items, scrubs=self.scrubber.passes, page_bytes=usage.page,
            syncs=self.writer.statistics().commits if self.durable else self.storage.syncs,
        )  # fmt: skip

    def background(self) -> list[BackgroundWork]:
        scrub = self.scrubber.clock.read("scrub", f"verifies all items; {self.scrubber.items} so far", self.storage.damage.count)
        return [*super().background(), scrub]

    def close(self) -> None:
        self.scrubber.close()
        super().close()
        if self.failure is not None:
            self.storage.lost = True
        try:
            self.storage.close()
        finally:
            self._directory.release()
