"""One range scan: what it reads, and how a continue of it goes on.

Methods whose name ends with ``_in_thread`` belong to worker threads; the event loop's thread uses the rest. `_scan_state` has the
theory of a scan's life.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import Final

import attrs
import trio

from ..._formats import prefix_end
from ..._incidents import Incidents, place_of
from ...engine import RECORD_OVERHEAD, Chunk, DamagedError, Record, SnapshotEndedError
from ..data import Bucket, prefix_of, vbucket_of
from ._pace import Pace
from ._scan_state import ScanEvent, ScanState, next_state

# What a continue hands over at once. A hand-over costs as much as packing a hundred documents: measured with
# ``nox -s bench -- scans``.
HANDED_RECORDS: Final = 1024
HANDED_BYTES: Final = 128 * 1024
# What is read and packed at once: a worker may keep the interpreter from the event loop for so long. Picked, not measured: with it,
# a NOOP beside two scans takes 1.2 ms at the 99th percentile (``nox -s bench -- beside``).
PIECE_RECORDS: Final = 256
PIECE_BYTES: Final = 64 * 1024
# What a sample, or a scan of one vbucket of several, reads at once: it returns only a part of it. Picked, not measured.
SAMPLE_RECORDS: Final = 512
SAMPLE_BYTES: Final = 256 * 1024

# Makes the bytes of records, for the protocol that is spoken; the second argument is how many bytes of each key are left out, which
# are the prefix of the collection.
Pack = Callable[[list[Record], int], list[bytes]]


@attrs.frozen(kw_only=True)
class ScanQuery:
    """What a scan is to return.

    Attributes:
        start: The first key.
        end: The key after the last one; None for no end.
        samples: The expected size of a random sample, in documents; None for the whole range.
        seed: Decides which documents a sample has.
        collection: The id of the collection.
        keys_only: Return keys without documents.
        include_xattrs: Return the extended attributes of documents as well.
        name: The client's name for the scan, for the statistics.
    """

    start: bytes = b""
    end: bytes | None = None
    samples: int | None = None
    seed: int = 0
    collection: int = 0
    keys_only: bool = False
    include_xattrs: bool = False
    name: str = ""


class Ending(Enum):
    """How a continue has ended."""

    MORE = auto()
    COMPLETE = auto()
    CANCELLED = auto()
    DROPPED = auto()  # the collection is gone
    FAILED = auto()


@attrs.frozen
class ContinueLimits:
    """After how much a continue ends: any of these, but never before it has returned one item. 0 stands for no limit.

    Attributes:
        items: Keys or documents.
        seconds: Time.
        size: Bytes of keys and values.
    """

    items: int = 0
    seconds: float = 0.0
    size: int = 0


class RangeScan:
    """One scan.

    Attributes:
        id: 16 bytes by which clients name it.
        owner: The number of the connection that created it.
        user: The number of the connection that has last continued it.
        query: What it returns.
        bucket: The bucket that it reads.
        clock: The monotonic clock.
        began: When it was created, by the clock.
        continues: How many times it was continued.
        items: How many keys or documents it has read. Written by the worker of a continue.
        state: Where it is in its life. Written by the event loop's thread.

    Args:
        owner: The number of the connection.
        query: What to return.
        bucket: The bucket to read.
        vbucket: The vbucket to read, or None for all of them in the order of the keys.
        clock: As above.

    Raises:
        TooManySnapshotsError: The engine's limit of snapshots is reached.
        EngineClosedError: The bucket is being deleted.
    """

    def __init__(
        self, owner: int, query: ScanQuery, bucket: Bucket, vbucket: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        engine = bucket.engine
        self._drops = bucket.drops(query.collection)  # before the snapshot: what is dropped later is noticed
        self._snapshot = engine.snapshot(keys_only=query.keys_only, xattrs=query.include_xattrs)
        prefix = prefix_of(query.collection)
        self.bucket = bucket
        self.id = uuid.uuid4().bytes
        self.owner = self.user = owner
        self.query = query
        self.clock = clock
        self.began = clock()
        self.continues = 0
        self.items = 0
        self.state = ScanState.CREATED
        self._pace = Pace(engine)
        self._vbucket = vbucket
        self._vbuckets = 1 if vbucket is None else bucket.vbuckets  # how many share the store, for this scan
        self._skip = len(prefix)
        self._end = prefix_end(prefix) if query.end is None else prefix + query.end
        self._position: bytes | None = prefix + query.start  # where to read on; None at the end of the range
        self._random: random.Random | None = None
        self._probability = 1.0
        count = bucket.held(query.collection).items / self._vbuckets
        if query.samples is not None and query.samples < count:
            self._random = random.Random(query.seed)
            self._probability = query.samples / count

    def send(self, event: ScanEvent) -> None:
        """Let something happen to the scan: see `_scan_state`.

        Raises:
            ScanError: The event is a client's, and is refused.
        """
        self.state = next_state(self.state, event)
        if self.state in (ScanState.STOPPING, ScanState.ENDED):
            self._snapshot.close()

    def discard_in_thread(self) -> None:
        """Close the snapshot of a scan that nobody has seen yet."""
        self._snapshot.close()

    @property
    def lost(self) -> bool:
        """Whether the engine has ended the snapshot, so that nothing more can be read."""
        return self._snapshot.ended

    @property
    def is_dropped(self) -> bool:
        """Whether the collection has been dropped since the scan was created. All threads may ask."""
        number = self.query.collection
        return self.bucket.collection(number) is None or self.bucket.drops(number) != self._drops

    @property
    def at_end(self) -> bool:
        """Whether the whole range has been read."""
        return self._position is None

    def is_empty_in_thread(self) -> bool:
        """Look whether the range is empty, and move on to its first item.

        Raises:
            trio.Cancelled: The client has gone.
        """
        max_records = 1 if self._vbuckets == 1 else SAMPLE_RECORDS
        while self._position is not None:
            trio.from_thread.check_cancelled()
            records, following, _ = self._snapshot.read(self._position, self._end, max_records=max_records, max_bytes=SAMPLE_BYTES)
            if self._own(records):
                return False
            self._position = following
        return True

    def _own(self, records: list[Record]) -> list[Record]:
        """Leave out the records of other vbuckets."""
        count = self._vbuckets
        if count == 1:
            return records
        skip, vbucket = self._skip, self._vbucket
        return [record for record in records if vbucket_of(record[0][skip:], count) == vbucket]

    def has_seqno_in_thread(self, seqno: int) -> bool:
        """Look whether a record of the snapshot has a sequence number: at all of them, since they are not sorted by it.

        Raises:
            trio.Cancelled: The client has gone.
        """
        position: bytes | None = b"\0"
        while position is not None:
            trio.from_thread.check_cancelled()
            records, position, _ = self._snapshot.read(position, None, max_records=SAMPLE_RECORDS, max_bytes=SAMPLE_BYTES)
            if any(record[6] == seqno for record in records):
                return True
        return False

    def read_in_thread(self, max_records: float, max_bytes: float, pack: Pack) -> tuple[list[bytes], int, int]:
        """Read and pack some records, then give way to writes.

        Returns:
            The packed pieces, the number of records in them, and the bytes of their keys and values.

        Raises:
            SnapshotEndedError: The scan has been ended meanwhile.
        """
        began = time.thread_time()
        records, self._position, size = self._read(max_records, max_bytes)
        records = self._own(records)
        packed = pack(records, self._skip)
        self._pace.give_way_in_thread(time.thread_time() - began)
        self.items += len(records)
        return packed, len(records), size

    def _read(self, max_records: float, max_bytes: float) -> Chunk:
        assert self._position is not None
        end = self._end
        if self._random is None:
            return self._snapshot.read(self._position, end, max_records=int(max_records), max_bytes=int(max_bytes))
        records, following, _ = self._snapshot.read(self._position, end, max_records=SAMPLE_RECORDS, max_bytes=SAMPLE_BYTES)
        chosen: list[Record] = []
        size = 0
        for record in records:
            if size >= max_bytes or len(chosen) >= max_records:
                return Chunk(chosen, record[0], size)
            if self._random.random() < self._probability:
                chosen.append(record)
                size += len(record[0]) + len(record[1]) + RECORD_OVERHEAD
        return Chunk(chosen, following, size)

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics."""
        running = self.state in (ScanState.RUNNING, ScanState.STOPPING)
        return {
            "name": self.query.name,
            "connection": self.owner,
            "state": "continuing" if running else "idle",
            "seconds": round(self.clock() - self.began, 3),
            "keys_only": self.query.keys_only,
            "samples": self.query.samples,
            "continues": self.continues,
            "items": self.items,
            "seqno": self._snapshot.seqno,
        }


class Continue:
    """One continue of a scan: how far it goes. A worker thread at a time uses it.

    Attributes:
        ending: How it has ended; None while there is more to send. The pieces of the call that sets it are the last ones.
    """

    def __init__(self, scan: RangeScan, limits: ContinueLimits, pack: Pack, incidents: Incidents) -> None:
        self._scan = scan
        self._incidents = incidents
        self._pack = pack
        self._items_left: float = limits.items or inf
        self._bytes_left: float = limits.size or inf
        self._deadline = scan.clock() + limits.seconds if limits.seconds else inf
        self._returned_any = False
        self.ending: Ending | None = None

    def next_in_thread(self) -> list[bytes]:
        """Return the next pieces. There may be none, also before the end."""
        scan = self._scan
        pieces: list[bytes] = []
        try:
            ending = self._fill_in_thread(pieces)
        except SnapshotEndedError:
            ending = Ending.CANCELLED
        except DamagedError:  # which the engine has logged
            ending = Ending.FAILED
        except Exception as exc:
            self._incidents.report(
                "range scan failed", place=f"{scan.bucket.name}: {place_of(exc)}", level="error", error=exc,
                scan=str(uuid.UUID(bytes=scan.id)), name=scan.query.name,
            )  # fmt: skip
            ending = Ending.FAILED
        if ending is not Ending.FAILED and scan.is_dropped:
            ending = Ending.DROPPED
        elif ending is not None and ending is not Ending.FAILED and scan.state is ScanState.STOPPING:
            ending = Ending.CANCELLED  # whatever was read: the client must not take a cancelled scan for a complete one
        self.ending = ending
        return [] if ending in (Ending.CANCELLED, Ending.DROPPED, Ending.FAILED) else pieces

    def _fill_in_thread(self, pieces: list[bytes]) -> Ending | None:
        """Read as much as is handed over at once, and return how the continue has ended, if it has."""
        scan = self._scan
        items = size = 0
        while items < HANDED_RECORDS and size < HANDED_BYTES:
            if scan.at_end:
                return Ending.COMPLETE
            max_records, max_bytes = min(self._items_left, PIECE_RECORDS), min(self._bytes_left, PIECE_BYTES)
            packed, count, read = scan.read_in_thread(max_records, max_bytes, self._pack)
            pieces += packed
            items += count
            size += read
            self._items_left -= count
            self._bytes_left -= read
            self._returned_any = self._returned_any or count > 0
            if scan.at_end:
                return Ending.COMPLETE
            out_of_time = scan.clock() >= self._deadline and self._returned_any
            if self._items_left <= 0 or self._bytes_left <= 0 or out_of_time:
                return Ending.MORE
            if not count:
                break
        return None
