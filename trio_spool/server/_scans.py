"""Range scans: which are open, and what a continue of one sends.

A scan is open from its create until its end is reached, it is cancelled, its life is over, its connection is gone, or a continue
of it is cut off. It reads one snapshot. The registry is used by the event loop's thread; what a worker calls says so.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from math import inf

import structlog
import trio

from ..engine import RECORD_OVERHEAD, Chunk, Engine, Record, SnapshotEndedError
from ..mcbp import (
    DOCUMENTS_EXTRAS,
    KEYS_EXTRAS,
    ScanRequest,
    Status,
    encode_scan_frame,
    pack_documents,
    pack_keys,
)

# What one frame carries. Each is handed over by itself, which costs as much as a hundred documents.
FRAME_RECORDS = 1024
FRAME_BYTES = 256 * 1024
# What is read and packed at once: little enough not to keep the interpreter from the event loop for long.
PIECE_RECORDS = 128
PIECE_BYTES = 32 * 1024
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


class TooManyScansError(Exception):
    """As many scans are open as may be."""


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
        items: How many keys or documents it has sent.
    """

    def __init__(self, owner: int, request: ScanRequest, engine: Engine) -> None:
        snapshot = engine.snapshot(keys_only=request.keys_only)
        self.id = uuid.uuid4().bytes
        self.owner = owner
        self.request = request
        self.began = time.monotonic()
        self.continues = 0
        self.items = 0
        self._snapshot = snapshot
        self._pace = _Pace(engine)
        self._position: bytes | None = request.start  # where the next continue goes on; None at the end
        self._running = False
        self._cancelled = False
        self._extras = KEYS_EXTRAS if request.keys_only else DOCUMENTS_EXTRAS
        self._pack = pack_keys if request.keys_only else pack_documents
        self._random: random.Random | None = None
        self._probability = 1.0
        if request.samples is not None and request.samples < snapshot.count:
            self._random = random.Random(request.seed)
            self._probability = request.samples / snapshot.count

    @property
    def running(self) -> bool:
        """Whether a continue of it is running."""
        return self._running

    @property
    def ended(self) -> bool:
        """Whether there is nothing to continue."""
        return self._cancelled or self._position is None

    def cancel(self) -> None:
        """End it; a continue that is running will say so."""
        self._cancelled = True
        self._snapshot.close()

    def is_empty_in_thread(self) -> bool:
        """Look whether there is nothing in its range; move on to what there is first.

        Raises:
            trio.Cancelled: Nobody wants to know any more.
        """
        while self._position is not None:
            trio.from_thread.check_cancelled()
            records, following, _ = self._snapshot.read(self._position, self.request.end, most_records=1, most_bytes=1)
            if records:
                return False
            self._position = following
        return True

    def has_seqno_in_thread(self, seqno: int) -> bool:
        """Look whether a record of the snapshot has a sequence number: at all of them, since they are not sorted by it.

        Raises:
            trio.Cancelled: Nobody wants to know any more.
        """
        position: bytes | None = b""
        while position is not None:
            trio.from_thread.check_cancelled()
            records, position, _ = self._snapshot.read(position, None, most_records=SAMPLE_RECORDS, most_bytes=SAMPLE_BYTES)
            if any(record[6] == seqno for record in records):
                return True
        return False

    def start(self) -> None:
        """Begin to continue it.

        Raises:
            ScanBusyError: Another continue is running.
        """
        if self._running:
            raise ScanBusyError
        self._running = True
        self.continues += 1

    def frames_in_thread(self, opaque: int, most_items: int, seconds: float, most_bytes: int) -> Iterator[bytes]:
        """Generate the frames of a continue; the last one has the final status.

        Args:
            opaque: The request's.
            most_items: How many keys or documents to send; 0 for no limit.
            seconds: After which to send no more; 0 for no limit.
            most_bytes: Of keys and values, after which to send no more; 0 for no limit.
        """
        items_left: float = most_items or inf
        bytes_left: float = most_bytes or inf
        deadline = time.monotonic() + seconds if seconds else inf
        items_before = self.items
        status = Status.OK
        while status == Status.OK:
            packed: list[bytes] = []
            frame_end = self.items + FRAME_RECORDS
            size = 0
            try:
                while True:
                    began = time.thread_time()
                    records, self._position, read = self._read(min(items_left, PIECE_RECORDS), min(bytes_left, PIECE_BYTES))
                    packed += self._pack(records)
                    self._pace.give_way_in_thread(time.thread_time() - began)
                    self.items += len(records)
                    items_left -= len(records)
                    bytes_left -= read
                    size += read
                    out_of_time = time.monotonic() >= deadline and self.items > items_before
                    if self._position is None:
                        status = Status.SCAN_COMPLETE
                    elif items_left <= 0 or bytes_left <= 0 or out_of_time:
                        status = Status.SCAN_MORE
                    if status != Status.OK or not records or size >= FRAME_BYTES or self.items >= frame_end:
                        break
            except SnapshotEndedError:
                self._cancelled = True
                status = Status.SCAN_CANCELLED
            except Exception:
                _log.exception("range scan failed", scan=str(uuid.UUID(bytes=self.id)), name=self.request.name)
                self._cancelled = True
                status = Status.INTERNAL
            if status != Status.OK:
                # Before the client can know of it, so that it finds the scan ready.
                self._running = False
            if self._cancelled:
                packed = []
            elif status == Status.OK and not packed:
                yield b""  # nothing found yet; but whoever runs this may want it to stop
                continue
            extras = self._extras if packed else b""
            yield encode_scan_frame(status, opaque, extras, packed)

    def _read(self, most_records: float, most_bytes: float) -> Chunk:
        assert self._position is not None
        end = self.request.end
        if self._random is None:
            return self._snapshot.read(self._position, end, most_records=int(most_records), most_bytes=int(most_bytes))
        records, following, _ = self._snapshot.read(self._position, end, most_records=SAMPLE_RECORDS, most_bytes=SAMPLE_BYTES)
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


class Scans:
    """The scans that are open, or being created.

    Args:
        most: How many there may be.
        most_of_one: How many of one connection.
        life: Seconds after which one is ended.
    """

    def __init__(self, most: int, most_of_one: int, life: float) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._life = life
        self._open: dict[bytes, RangeScan] = {}
        self._creating: list[int] = []  # owners
        self.created = 0
        self.expired = 0

    def __iter__(self) -> Iterator[RangeScan]:
        return iter(list(self._open.values()))

    def reserve(self, owner: int) -> None:
        """Keep a place for a scan that is about to be created: `settle` it.

        Raises:
            TooManyScansError: There is none.
        """
        self._forget_ended()
        if len(self._open) + len(self._creating) >= self._most:
            raise TooManyScansError(f"{self._most} scans are open, as many as may be")
        owned = sum(scan.owner == owner for scan in self._open.values()) + self._creating.count(owner)
        if owned >= self._most_of_one:
            raise TooManyScansError(f"{owned} scans of this connection are open, as many as may be")
        self._creating.append(owner)

    def settle(self, owner: int, scan: RangeScan | None) -> None:
        """Open a scan in the place that was kept for it, or give the place back."""
        self._creating.remove(owner)
        if scan is not None:
            self._open[scan.id] = scan
            self.created += 1

    def find(self, identity: bytes) -> RangeScan | None:
        """Return an open scan."""
        scan = self._open.get(identity)
        return scan if scan is not None and (scan.running or not scan.ended) else None

    def end(self, scan: RangeScan) -> None:
        """Close a scan."""
        self._open.pop(scan.id, None)
        scan.cancel()

    def end_of(self, owner: int) -> None:
        """Close those of a connection that is gone."""
        for scan in self:
            if scan.owner == owner:
                self.end(scan)

    def end_old(self) -> None:
        """Close those that have lived for too long, and forget those that ended by themselves."""
        self._forget_ended()
        oldest = time.monotonic() - self._life
        for scan in self:
            if scan.began <= oldest:
                self.expired += 1
                self.end(scan)

    def end_all(self) -> None:
        """Close all."""
        for scan in self:
            self.end(scan)

    def forget_ended(self, scan: RangeScan) -> None:
        """Close a scan if it has ended by itself."""
        if scan.ended and not scan.running:
            self.end(scan)

    def _forget_ended(self) -> None:
        for scan in self:
            self.forget_ended(scan)
