"""Reading from LMDB: single items, and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import lmdb

from .._errors import SnapshotEndedError
from .._operations import Chunk, Item, Record, Shown
from .._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, split_extended
from .._snapshots import SnapshotRegistry
from ._mapping import MAPPED, map_error, map_errors
from ._records import RECORD_SIZE, STATE, STATE_KEY, item_of, unpack_record, unpack_shown
from ._storage import LmdbStorage


class LmdbReader(Reader):
    """Point reads in a transaction that begins with the first one.

    Args:
        storage: The environment.
        clock: Returns the Unix time.
        flushed: Returns whether a flush was due at a Unix time.
    """

    def __init__(self, storage: LmdbStorage, clock: Callable[[], float], flushed: Callable[[float], bool]) -> None:
        self._reading = storage.reading()
        self._clock = clock
        self._flushed = flushed
        self._now = 0.0

    def get(self, key: bytes) -> Item | None:
        try:  # not `map_errors`, which would take as long as LMDB does
            with self._reading.lock:
                record = self._transaction().get(key)
        except MAPPED as error:
            raise map_error(error) from error
        if record is None:
            return None
        item = item_of(record)
        if 0 < item.expiry <= self._now or self._flushed(self._now):
            return None
        return item

    def _transaction(self) -> lmdb.Transaction[Any]:
        """Return the transaction, with the lock held; begin it if this is the first read since the last release."""
        transaction = self._reading.transaction
        if transaction is None:
            transaction = self._reading.begin()
            self._now = self._clock()
        return transaction

    def get_many(self, keys: Sequence[bytes], max_bytes: int) -> list[Shown | None]:
        reading = self._reading
        items: list[Shown | None] = []
        append = items.append
        left = max_bytes
        with reading.lock, map_errors:
            transaction = self._transaction()
            now = self._now
            for record in map(transaction.get, keys):
                if record is None:
                    append(None)
                    continue
                datatype, flags, expiry, cas = unpack_shown(record)
                if 0 < expiry <= now:
                    append(None)
                    continue
                if datatype < EXTENDED:
                    append((record[RECORD_SIZE:], flags, datatype, cas))
                else:
                    append(item_of(record).shown())
                left -= len(record) - RECORD_SIZE
                if left < 0:
                    break
        return items if not self._flushed(now) else [None] * len(items)

    def release(self) -> None:
        reading = self._reading
        if reading.transaction is not None:
            with reading.lock:
                reading.end()  # the environment keeps the transaction for the next reader

    def close(self) -> None:
        self.release()


class LmdbSnapshot(Snapshot):
    """A read transaction that stays open.

    Args:
        storage: The environment.
        registry: Forgets the snapshot when it is closed.
        now: The Unix time of the snapshot.
        flushed: Whether a flush was due then, so that nothing exists.
        keys_only: Whether to leave the values out.
        xattrs: Whether to put the extended attributes before the value.
    """

    def __init__(
        self, storage: LmdbStorage, registry: SnapshotRegistry, now: float, *, flushed: bool, keys_only: bool, xattrs: bool
    ) -> None:
        self._registry = registry
        self._xattrs = xattrs
        self._reading = storage.reading()
        self._keys_only = keys_only
        self._now = now
        self._flushed = flushed
        with self._reading.lock, map_errors:
            transaction = self._reading.begin(buffers=keys_only)  # so that values are not copied
            stored = transaction.get(STATE_KEY, db=storage.databases.meta)
            self._count: int = transaction.stat(storage.databases.items)["entries"]
            self._seqno: int = STATE.unpack(stored)[0] if stored is not None else 0

    @property
    def seqno(self) -> int:
        return self._seqno

    @property
    def count(self) -> int:
        return self._count

    @property
    def ended(self) -> bool:
        return self._reading.transaction is None

    def read(self, start: bytes, end: bytes | None, *, max_records: int, max_bytes: int) -> Chunk:
        with self._reading.lock, map_errors:
            transaction = self._reading.transaction
            if transaction is None:
                raise SnapshotEndedError
            if self._flushed:
                return Chunk([], None, 0)
            with transaction.cursor() as cursor:
                if not cursor.set_range(start):
                    return Chunk([], None, 0)
                return self._read(cursor, end, min(max_records, CHUNK_RECORDS), max_bytes)

    def _read(self, cursor: lmdb.Cursor[Any], end: bytes | None, max_records: int, max_bytes: int) -> Chunk:
        """Read from where a cursor stands."""
        records: list[Record] = []
        size = 0
        now = self._now
        keys_only = self._keys_only
        for key, record in islice(cursor, max_records):
            if keys_only:
                key = bytes(key)
            if end is not None and key >= end:
                return Chunk(records, None, size)
            if size >= max_bytes:
                break
            datatype, flags, expiry, cas, seqno = unpack_record(record)
            if 0 < expiry <= now:
                continue
            if keys_only:
                records.append((key, b"", flags, expiry, datatype & ~EXTENDED, cas, seqno))
                size += len(key) + RECORD_SIZE
            elif datatype >= EXTENDED and not self._xattrs:
                _, value = split_extended(record, RECORD_SIZE)
                records.append((key, value, flags, expiry, datatype & ~EXTENDED, cas, seqno))
                size += len(key) + RECORD_SIZE + len(value)
            else:
                records.append((key, record[RECORD_SIZE:], flags, expiry, datatype, cas, seqno))
                size += len(key) + len(record)
        else:
            key = bytes(cursor.key()) if cursor.next() else b""
        return Chunk(records, key if key and (end is None or key < end) else None, size)

    def close(self) -> None:
        with self._reading.lock:
            self._reading.end()
        self._registry.discard(self)
