"""Reading from LMDB: transactions that can be taken away, and what is made of records.

An item is stored as::

    byte   0        datatype
           1-4      flags
           5-12     expiry, Unix seconds
           13-20    CAS
           21-28    sequence number
           29-      value

all big-endian. If the highest bit of the datatype is set, the value is preceded by its extended attributes: their length u32, and
a JSON object.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import lmdb

from ._errors import EngineClosedError, SnapshotEndedError
from ._operations import Chunk, Item, Record, Shown
from ._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, pack_extended, split_extended
from ._transaction import State

if TYPE_CHECKING:
    from ._lmdb import LmdbEngine

RECORD = struct.Struct(">BLQQQ")
RECORD_SIZE = RECORD.size
unpack_record = RECORD.unpack_from
_unpack_shown = struct.Struct(">BLQQ").unpack_from  # without the sequence number
STATE = struct.Struct(">QQd")
STATE_KEY = b"state"


def item_of(record: bytes) -> Item:
    """Return the item that is stored as a record."""
    datatype, flags, expiry, cas, seqno = unpack_record(record)
    if datatype < EXTENDED:
        return Item(record[RECORD_SIZE:], flags, expiry, datatype, cas, seqno)
    xattrs, value = split_extended(record, RECORD_SIZE)
    return Item(value, flags, expiry, datatype & ~EXTENDED, cas, seqno, xattrs)


def record_of(item: Item) -> bytes:
    """Return the record that an item is stored as."""
    value, flags, expiry, datatype, cas, seqno, xattrs = item
    if xattrs:
        value, datatype = pack_extended(xattrs, value), datatype | EXTENDED
    return RECORD.pack(datatype, flags, expiry, cas, seqno) + value


class Reading:
    """A read transaction that can be taken away while nobody is inside LMDB with it."""

    def __init__(self, engine: LmdbEngine) -> None:
        self._engine = engine
        self.lock = threading.Lock()  # whoever is inside LMDB holds it
        self.transaction: lmdb.Transaction[bytes] | None = None

    def begin(self, *, buffers: bool = False) -> lmdb.Transaction[bytes]:
        """Begin, with the lock held; with `buffers`, what is read are views of the map."""
        if self._engine._closing:
            raise EngineClosedError("the engine is closed")
        self.transaction = self._engine.env.begin(db=self._engine.items, buffers=buffers)  # type: ignore[call-overload]
        return self.transaction

    def end(self) -> None:
        """End, with the lock held."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None


class LmdbReader(Reader):
    def __init__(self, engine: LmdbEngine) -> None:
        self._engine = engine
        self._reading = engine.reading()
        self._now = 0.0

    def get(self, key: bytes) -> Item | None:
        reading = self._reading
        with reading.lock:
            record = self._transaction().get(key)
        if record is None:
            return None
        item = item_of(record)
        if 0 < item.expiry <= self._now or self._engine.flushed(self._now):
            return None
        return item

    def _transaction(self) -> lmdb.Transaction[bytes]:
        """Return the transaction, with the lock held; begin it if this is the first read since the last release."""
        transaction = self._reading.transaction
        if transaction is None:
            transaction = self._reading.begin()
            self._now = self._engine.now()
        return transaction

    def get_many(self, keys: Sequence[bytes], most: int) -> list[Shown | None]:
        reading = self._reading
        items: list[Shown | None] = []
        append = items.append
        left = most
        with reading.lock:
            transaction = self._transaction()
            now = self._now
            for record in map(transaction.get, keys):
                if record is None:
                    append(None)
                    continue
                datatype, flags, expiry, cas = _unpack_shown(record)
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
        return items if not self._engine.flushed(now) else [None] * len(items)

    def release(self) -> None:
        reading = self._reading
        if reading.transaction is not None:
            with reading.lock:
                reading.end()  # the environment keeps the transaction for the next reader

    def close(self) -> None:
        self.release()


class LmdbSnapshot(Snapshot):
    def __init__(self, engine: LmdbEngine, keys_only: bool, xattrs: bool) -> None:
        self._engine = engine
        self._xattrs = xattrs
        self._reading = engine.reading()
        self._keys_only = keys_only
        self._now = engine.now()
        self._flushed = engine.flushed(self._now)
        with self._reading.lock:
            transaction = self._reading.begin(buffers=keys_only)  # nor are values copied
            stored = transaction.get(STATE_KEY, db=engine.meta)
            self._count: int = transaction.stat(engine.items)["entries"]
            self._seqno = State(*STATE.unpack(stored)).seqno if stored is not None else 0

    @property
    def seqno(self) -> int:
        return self._seqno

    @property
    def count(self) -> int:
        return self._count

    def read(self, start: bytes, end: bytes | None, *, most_records: int, most_bytes: int) -> Chunk:
        records: list[Record] = []
        size = 0
        now = self._now
        keys_only = self._keys_only
        with self._reading.lock:
            transaction = self._reading.transaction
            if transaction is None:
                raise SnapshotEndedError("the snapshot was closed, or reached the end of its life, while it was being read")
            if self._flushed:
                return Chunk(records, None, 0)
            with transaction.cursor() as cursor:
                if not cursor.set_range(start):
                    return Chunk(records, None, 0)
                for key, record in islice(cursor, min(most_records, CHUNK_RECORDS)):
                    if keys_only:
                        key = bytes(key)
                    if end is not None and key >= end:
                        return Chunk(records, None, size)
                    if size >= most_bytes:
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
        self._engine.registry.discard(self)
