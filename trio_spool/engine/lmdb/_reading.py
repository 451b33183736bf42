"""Reading from LMDB: single items, and snapshots."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import lmdb

from .._errors import DamagedError, SnapshotEndedError
from .._operations import Chunk, Item, Record, Shown
from .._reading import CHUNK_RECORDS, EXTENDED, Reader, Snapshot, pack_extended
from .._snapshots import SnapshotRegistry
from .._storage import DamagedItemError
from .._tombstones import read_around
from ._mapping import MAPPED, map_error
from ._probing import begin_probed, until
from ._records import (
    CHECKED,
    CHECKSUM_SIZE,
    OVERHEAD,
    RECORD_SIZE,
    SHOWN,
    STATE_KEY,
    VALUE,
    are_intact,
    damaged,
    item_of,
    unpack_record,
    unpack_shown,
    unpack_state,
)
from ._storage import LmdbStorage

# From this size on, in bytes, LMDB keeps a record in pages of its own, with pages of 4 KiB.
INLINE = 2000


class LmdbReader(Reader):
    """Point reads in a transaction that begins with the first one.

    Args:
        storage: The environment.
        clock: Returns the Unix time.
        flushed: Returns whether a flush was due at a Unix time.
        verify: Whether to verify the checksum of each item.
    """

    def __init__(
        self, storage: LmdbStorage, clock: Callable[[], float], flushed: Callable[[float], bool], *, verify: bool = False
    ) -> None:
        self._storage = storage
        self._verify = verify
        self._reading = storage.reading()
        self._clock = clock
        self._flushed = flushed
        self._now = 0.0

    def get(self, key: bytes) -> Item | None:
        if self.used is not None:
            self.used((key,))
        try:  # not `map_errors`, which would take as long as LMDB does
            with self._reading.lock:
                record = self._transaction().get(key)
            if record is None:
                return None
            item = item_of(key, record, self._verify, self._storage.all_checked)
        except (*MAPPED, DamagedError) as error:
            raise self._failed(error) from error
        if 0 < item.expiry <= self._now or self._flushed(self._now):
            return None
        return item

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one that was met, and count damage."""
        self.release()  # LMDB reads nothing more in a transaction that has met a damaged page
        mapped = error if isinstance(error, DamagedError) else map_error(error)
        return self._storage.damage.met(mapped) if isinstance(mapped, DamagedError) else mapped

    def _transaction(self) -> lmdb.Transaction[Any]:
        """Return the transaction, with the lock held; begin it if this is the first read since the last release."""
        transaction = self._reading.transaction
        if transaction is None:
            transaction = self._reading.begin()
            self._now = self._clock()
        return transaction

    def get_many(self, keys: Sequence[bytes], max_bytes: int) -> list[Shown | None]:
        items: list[Shown | None] = []
        if self.used is not None:
            self.used(keys)
        try:
            with self._reading.lock:
                self._fill(items, keys, max_bytes)
        except (*MAPPED, DamagedError) as error:
            if not items:
                raise self._failed(error) from error
            self.release()  # the next call begins with what failed
        return items if not self._flushed(self._now) else [None] * len(items)

    def _fill(self, items: list[Shown | None], keys: Sequence[bytes], max_bytes: int) -> None:
        """Read items, with the lock held.

        Raises:
            DamagedItemError: The item after the last one in `items` is damaged.
        """
        append = items.append
        left = max_bytes
        transaction = self._transaction()
        now, verify, all_checked = self._now, self._verify, self._storage.all_checked
        pairs: list[tuple[bytes, bytes]] = []
        try:
            for record in map(transaction.get, keys):
                if record is None:
                    append(None)
                    continue
                if verify:
                    pairs.append((keys[len(items)], record))
                datatype, flags, expiry, cas = unpack_shown(record)
                if 0 < expiry <= now:
                    append(None)
                    continue
                if CHECKED <= datatype < EXTENDED:  # nearly all of them
                    append((record[VALUE], flags, datatype ^ CHECKED, cas))
                else:
                    append(item_of(keys[len(items)], record, False, all_checked).shown())
                left -= len(record) - OVERHEAD
                if left < 0:
                    break
        except struct.error:
            raise damaged(keys[len(items)], record or b"", all_checked) from None
        finally:
            if pairs and not are_intact(pairs, max_bytes - left):
                self._leave_out_damaged(items, keys, dict(pairs))

    def _leave_out_damaged(self, items: list[Shown | None], keys: Sequence[bytes], records: dict[bytes, bytes]) -> None:
        """Verify items one by one, and remove those from the first damaged one on.

        Raises:
            DamagedItemError: That one, if there is one: items of format 2 have no checksum.
        """
        for index, key in enumerate(keys):
            if key in records:
                try:
                    item_of(key, records[key], True, self._storage.all_checked)
                except DamagedItemError:
                    del items[index:]
                    raise

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

    Attributes:
        transaction_id: The number of the transaction, which is that of the last commit that it sees.
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
        self._storage = storage
        with self._reading.lock, storage.errors:
            transaction, self._probe = begin_probed(storage, self._reading, buffers=keys_only)  # so that values are not copied
            stored = transaction.get(STATE_KEY, db=storage.databases.meta)
            self._count: int = transaction.stat(storage.databases.items)["entries"]
            self._seqno: int = unpack_state(bytes(stored))[0] if stored is not None else 0
            self.transaction_id: int = transaction.id()

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
        return read_around(partial(self._read_verified, min(max_records, CHUNK_RECORDS), max_bytes), start, end)

    def _read_verified(self, max_records: int, max_bytes: int, start: bytes, end: bytes | None) -> Chunk:
        pairs: list[tuple[bytes, bytes]] = []
        with self._reading.lock, self._storage.errors:
            transaction = self._reading.transaction
            if transaction is None:
                raise SnapshotEndedError
            if self._flushed:
                return Chunk([], None, 0)
            last = None if self._probe is None else self._probe.look_ahead(start, max_records)
            with transaction.cursor() as cursor:
                if not cursor.set_range(start):
                    return Chunk([], None, 0)
                try:
                    chunk = self._read(cursor, end, max_records, max_bytes, pairs, last)
                except (struct.error, DamagedItemError):
                    self._verify(pairs)
                    raise
                if not are_intact(pairs, chunk.size):
                    self._verify(pairs)
        return chunk

    def _read(
        self,
        cursor: lmdb.Cursor[Any],
        end: bytes | None,
        max_records: int,
        max_bytes: int,
        pairs: list[tuple[bytes, bytes]],
        last: bytes | None,
    ) -> Chunk:
        """Read from where a cursor stands, and add keys and records, which are to be verified, to `pairs`.

        Raises:
            struct.error: A record is too short.
            DamagedItemError: An item is damaged.
        """
        records: list[Record] = []
        size = 0
        now = self._now
        keys_only = self._keys_only
        for pair in islice(until(cursor, last), max_records):
            key, record = pair
            if keys_only:
                key = bytes(key)
            if end is not None and key >= end:
                return Chunk(records, None, size)
            if size >= max_bytes:
                break
            # A large value is in pages of its own, and to read it would take longer than all the rest of a scan of keys.
            if not keys_only or len(record) < INLINE:
                pairs.append(pair)
            datatype, flags, expiry, cas, seqno = unpack_record(record)
            if 0 < expiry <= now:
                continue
            if keys_only:
                records.append((key, b"", flags, expiry, datatype & SHOWN, cas, seqno))
                size += len(key) + RECORD_SIZE
            elif CHECKED <= datatype < EXTENDED:  # nearly all of them
                records.append((key, record[VALUE], flags, expiry, datatype & SHOWN, cas, seqno))
                size += len(key) + len(record) - CHECKSUM_SIZE
            else:
                item = item_of(key, record, True, self._storage.all_checked)
                value, kind = item.value, item.datatype & SHOWN
                if item.xattrs and self._xattrs:
                    value, kind = pack_extended(item.xattrs, value), kind | EXTENDED
                records.append((key, value, flags, expiry, kind, cas, seqno))
                size += len(key) + RECORD_SIZE + len(value)
        else:
            key = self._following(cursor, key, last)
        return Chunk(records, key if key and (end is None or key < end) else None, size)

    @staticmethod
    def _following(cursor: lmdb.Cursor[Any], key: bytes, last: bytes | None) -> bytes:
        """Return the key to go on from; an empty key at the end. LMDB must not go behind the last one that can be read."""
        if last is not None and key >= last:
            return last + b"\0"
        return bytes(cursor.key()) if cursor.next() else b""

    def _verify(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Verify items one by one, given as keys and records.

        Raises:
            DamagedItemError: The first one that is damaged.
        """
        for key, record in pairs:
            try:
                item_of(bytes(key), bytes(record), True, self._storage.all_checked)
            except DamagedItemError as error:
                self._storage.damage.met(error)
                raise

    def close(self) -> None:
        with self._reading.lock:
            self._reading.end()
        self._registry.discard(self)
