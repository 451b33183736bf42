"""One range scan: what it reads, and what a continue of it sends.

What a worker thread calls says so; the rest is used by the event loop's thread.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from math import inf

import structlog
import trio

from ..engine import EXTENDED, RECORD_OVERHEAD, Chunk, Engine, Record, SnapshotEndedError, split_extended
from ..mcbp import (
    ALL_VBUCKETS,
    DOCUMENTS_EXTRAS,
    KEYS_EXTRAS,
    DataType,
    ScanRequest,
    Status,
    encode_scan_frame,
    pack_documents,
    pack_keys,
    pack_xattrs,
    prefix_end,
)
from ._buckets import Bucket, prefix_of, vbucket_of

# What one frame carries. Each is handed over by itself, which costs as much as a hundred documents.
FRAME_RECORDS = 1024
FRAME_BYTES = 256 * 1024
# What is read and packed at once: little enough not to keep the interpreter from the event loop for long.
PIECE_RECORDS = 256
PIECE_BYTES = 64 * 1024
# A sample reads more than it returns: this many records at a time.
SAMPLE_RECORDS = 512
SAMPLE_BYTES = 256 * 1024

# What a write takes of the interpreter altogether, in multiples of the writer thread's time: the event loop's part is as large.
WRITE_COST = 3.0
# How much writes may take of the interpreter, in multiples of what a scan takes.
WRITE_SHARE = 8.0
# Seconds; a shorter sleep is mostly overhead.
SHORTEST_PAUSE = 0.0002

_log: structlog.stdlib.BoundLogger = structlog.get_logger("trio_spool")


class ScanBusyError(Exception):
    """A continue of this scan is running."""


class _Pace:
    """Lets writes go first: they and a scan need the same interpreter, and a scan would take half of it.

    Args:
        engine: Whose writer thread is to go first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen = engine.writer_seconds
        self._debt = 0.0

    def give_way_in_thread(self, spent: float) -> None:
        """Sleep for as long as writes have needed since the last time, but only in proportion to what was `spent` on the scan."""
        written, self._seen = self._engine.writer_seconds - self._seen, self._engine.writer_seconds
        self._debt = min(self._debt + WRITE_COST * written, WRITE_SHARE * spent)
        if self._debt >= SHORTEST_PAUSE:
            time.sleep(self._debt)
            self._debt = 0.0


class RangeScan:
    """One scan.

    Attributes:
        id: 16 bytes that stand for it.
        owner: The number of the connection that created it.
        request: What was asked for.
        began: When, on the monotonic clock.
        continues: How many times it was continued.
        items: How many keys or documents it has read.
        running: Whether a continue of it is running.
        cancelled: Whether it was ended before its end.
        extras: Of the frames that carry its keys or documents.
    """

    def __init__(self, owner: int, request: ScanRequest, bucket: Bucket, vbucket: int) -> None:
        engine = bucket.engine
        snapshot = engine.snapshot(keys_only=request.keys_only, xattrs=request.include_xattrs)
        prefix = prefix_of(request.collection)
        self.bucket = bucket
        self.id = uuid.uuid4().bytes
        self.owner = owner
        self.request = request
        self.began = time.monotonic()
        self.continues = 0
        self.items = 0
        self._snapshot = snapshot
        self._pace = _Pace(engine)
        self._vbucket = vbucket
        self._vbuckets = 1 if vbucket == ALL_VBUCKETS else bucket.vbuckets  # that the store is divided into, for this scan
        self._skip = len(prefix)
        # The limits of the range, and where the next continue goes on; None at the end.
        self._start = prefix + request.start
        self._end = prefix_end(prefix) if request.end is None else prefix + request.end
        self._position: bytes | None = self._start
        self.running = False
        self.cancelled = False
        self.extras = KEYS_EXTRAS if request.keys_only else DOCUMENTS_EXTRAS
        self._pack = pack_keys if request.keys_only else pack_documents
        self._random: random.Random | None = None
        self._probability = 1.0
        count = bucket.held(request.collection).items / self._vbuckets
        if request.samples is not None and request.samples < count:
            self._random = random.Random(request.seed)
            self._probability = request.samples / count

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position is None

    @property
    def ended(self) -> bool:
        """Whether there is nothing to continue."""
        return self.cancelled or self.at_end

    def cancel(self) -> None:
        """End it; a continue that is running will say so."""
        self.cancelled = True
        self._snapshot.close()

    def is_empty_in_thread(self) -> bool:
        """Look whether there is nothing in its range; move on to what there is first.

        Raises:
            trio.Cancelled: Nobody wants to know any more.
        """
        most = 1 if self._vbuckets == 1 else SAMPLE_RECORDS
        while self._position is not None:
            trio.from_thread.check_cancelled()
            records, following, _ = self._snapshot.read(self._position, self._end, max_records=most, max_bytes=SAMPLE_BYTES)
            if self._own(records):
                return False
            self._position = following
        return True

    def _own(self, records: list[Record]) -> list[Record]:
        """Leave out what belongs to other vbuckets."""
        count = self._vbuckets
        if count == 1:
            return records
        skip, vbucket = self._skip, self._vbucket
        return [record for record in records if vbucket_of(record[0][skip:], count) == vbucket]

    def has_seqno_in_thread(self, seqno: int) -> bool:
        """Look whether a record of the snapshot has a sequence number: at all of them, since they are not sorted by it.

        Raises:
            trio.Cancelled: Nobody wants to know any more.
        """
        position: bytes | None = b"\0"
        while position is not None:
            trio.from_thread.check_cancelled()
            records, position, _ = self._snapshot.read(position, None, max_records=SAMPLE_RECORDS, max_bytes=SAMPLE_BYTES)
            if any(record[6] == seqno for record in records):
                return True
        return False

    def continue_(self, opaque: int, most_items: int, seconds: float, most_bytes: int) -> Continuation:
        """Begin to continue it; `end_continue` when that is over.

        Args:
            opaque: The request's.
            most_items: How many keys or documents to send; 0 for no limit.
            seconds: After which to send no more; 0 for no limit.
            most_bytes: Of keys and values, after which to send no more; 0 for no limit.

        Raises:
            ScanBusyError: Another continue is running.
        """
        if self.running:
            raise ScanBusyError
        self.running = True
        self.continues += 1
        return Continuation(self, opaque, most_items, seconds, most_bytes)

    def end_continue(self) -> None:
        """Be ready to be continued again."""
        self.running = False

    def read_in_thread(self, most_records: float, most_bytes: float) -> tuple[list[bytes], int, int]:
        """Read and pack some more, let writes go first, and return the pieces, how many they are of, and their size.

        Raises:
            SnapshotEndedError: It was cancelled meanwhile.
        """
        began = time.thread_time()
        records, self._position, size = self._read(most_records, most_bytes)
        records = self._own(records)
        if self.request.include_xattrs:
            records = [_with_xattrs(record) for record in records]
        packed = self._pack(records, self._skip)
        self._pace.give_way_in_thread(time.thread_time() - began)
        self.items += len(records)
        return packed, len(records), size

    def _read(self, most_records: float, most_bytes: float) -> Chunk:
        assert self._position is not None
        end = self._end
        if self._random is None:
            return self._snapshot.read(self._position, end, max_records=int(most_records), max_bytes=int(most_bytes))
        records, following, _ = self._snapshot.read(self._position, end, max_records=SAMPLE_RECORDS, max_bytes=SAMPLE_BYTES)
        chosen: list[Record] = []
        size = 0
        for record in records:
            if size >= most_bytes or len(chosen) >= most_records:
                return Chunk(chosen, record[0], size)
            if self._random.random() < self._probability:
                chosen.append(record)
                size += len(record[0]) + len(record[1]) + RECORD_OVERHEAD
        return Chunk(chosen, following, size)

    def describe(self) -> dict[str, object]:
        """Describe it, for the statistics."""
        return {
            "name": self.request.name,
            "connection": self.owner,
            "state": "continuing" if self.running else "idle",
            "seconds": round(time.monotonic() - self.began, 3),
            "keys_only": self.request.keys_only,
            "samples": self.request.samples,
            "continues": self.continues,
            "items": self.items,
            "seqno": self._snapshot.seqno,
        }


def _with_xattrs(record: Record) -> Record:
    """Return a record with its extended attributes as clients get them."""
    key, value, flags, expiry, datatype, cas, seqno = record
    if not datatype & EXTENDED:
        return record
    xattrs, value = split_extended(value)
    return key, pack_xattrs(xattrs) + value, flags, expiry, datatype & ~EXTENDED | DataType.XATTR, cas, seqno


class Continuation:
    """What one continue of a scan sends: any number of frames, and a last one, which has the final status.

    The last one is kept apart. While it has not been sent, the client can't know that the continue is over: so the scan can be
    continued if it has, and is ended if it never will be.

    Attributes:
        final: The last frame, once it is known.
    """

    def __init__(self, scan: RangeScan, opaque: int, most_items: int, seconds: float, most_bytes: int) -> None:
        self._scan = scan
        self._opaque = opaque
        self._items_left: float = most_items or inf
        self._bytes_left: float = most_bytes or inf
        self._deadline = time.monotonic() + seconds if seconds else inf
        self._sent_any = False
        self.final: bytes | None = None

    def frames_in_thread(self, frame: bytes) -> Iterator[bytes]:
        """Generate all frames but the last, beginning with one that is given."""
        while self.final is None:
            yield frame
            frame = self.next_frame_in_thread()

    def next_frame_in_thread(self) -> bytes:
        """Return a frame; nothing if there is nothing to send yet, or if it is the last one, which is then `final`."""
        scan = self._scan
        packed: list[bytes] = []
        try:
            status = self._fill_in_thread(packed)
        except SnapshotEndedError:
            scan.cancelled = True
            status = Status.SCAN_CANCELLED
        except Exception:
            _log.exception("range scan failed", scan=str(uuid.UUID(bytes=scan.id)), name=scan.request.name)
            scan.cancelled = True
            status = Status.INTERNAL
        if scan.cancelled:
            packed = []
        if status == Status.OK and not packed:
            return b""
        # Couchbase's SDKs take a last frame without these extras for an error, though it may have no data.
        extras = b"" if status in (Status.SCAN_CANCELLED, Status.INTERNAL) else scan.extras
        frame = encode_scan_frame(status, self._opaque, extras, packed)
        if status == Status.OK:
            return frame
        self.final = frame
        return b""

    def _fill_in_thread(self, packed: list[bytes]) -> Status:
        """Read what belongs into a frame, and return its status."""
        items = size = 0
        while items < FRAME_RECORDS and size < FRAME_BYTES:
            pieces, count, read = self._scan.read_in_thread(
                min(self._items_left, PIECE_RECORDS), min(self._bytes_left, PIECE_BYTES)
            )
            packed += pieces
            items += count
            size += read
            self._items_left -= count
            self._bytes_left -= read
            self._sent_any = self._sent_any or count > 0
            if self._scan.at_end:
                return Status.SCAN_COMPLETE
            out_of_time = time.monotonic() >= self._deadline and self._sent_any
            if self._items_left <= 0 or self._bytes_left <= 0 or out_of_time:
                return Status.SCAN_MORE
            if not count:
                break
        return Status.OK
