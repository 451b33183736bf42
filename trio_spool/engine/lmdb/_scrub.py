"""The scrub: a thread that verifies all items in the background, at a bounded rate, again and again.

It finds what is damaged before somebody needs it, and while there is still a backup that is not. It holds no snapshot: it reads a
piece, and goes on from the next key. The items of a database of format 2 are given their checksums on the way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from .._background import WorkClock
from .._errors import DamagedError, EngineClosedError, StorageError
from .._operations import Operation, Outcome, Remember, Seal
from .._storage import DamagedItemError
from ._pages import DamagedPageError
from ._probing import begin_probed, until
from ._reading_lock import Reading
from ._records import ALL_CHECKED, CHECKED, RECORD_SIZE, item_of
from ._storage import LmdbStorage

# What is read at once, with the interpreter held for the most of it: a millisecond or less, unless one item is larger than that.
# Picked, not measured.
PIECE_BYTES: Final = 64 * 1024
PIECE_RECORDS: Final = 512
# Bytes that an item counts for beside its key and its record, so that tiny items are not read at a rate that takes a whole
# processor: verifying one takes about 1 µs, as long as reading 256 bytes at 256 MB/s. Picked.
ITEM_COST: Final = 256
# Seconds between the beginnings of two passes over all items. Picked, not measured: what a disk loses, it loses over weeks.
PASS_INTERVAL: Final = 24 * 3600.0
# Bytes in a second at which a database of format 2 is given its checksums where no scrub is wanted. Picked, not measured.
SEALING_RATE: Final = 4 * 1024 * 1024

Submit = Callable[["Sequence[Operation]", Callable[["list[Outcome]"], None]], None]


@attrs.define
class Piece:
    """Items that were verified together.

    Attributes:
        following: The key to go on from; None at the end.
        items: Their number.
        size: Their bytes, with `ITEM_COST` for each.
        unchecked: The keys of those that have no checksum.
        damaged: What is wrong with those that are damaged.
    """

    following: bytes | None = None
    items: int = 0
    size: int = 0
    unchecked: list[bytes] = attrs.field(factory=list)
    damaged: list[DamagedItemError] = attrs.field(factory=list)


def verify_piece(storage: LmdbStorage, reading: Reading, start: bytes) -> Piece:
    """Verify some items from a key on.

    Raises:
        EngineClosedError: The engine is closed.
        DamagedError: A page is damaged.
        StorageError: LMDB failed.
    """
    piece = Piece()
    all_checked = storage.all_checked
    with reading.lock, storage.errors:
        try:
            transaction, probe = begin_probed(storage, reading)
            last = None if probe is None else probe.look_ahead(start, PIECE_RECORDS)
            with transaction.cursor() as cursor:
                for key, record in until(cursor, last) if cursor.set_range(start) else ():
                    if piece.items == PIECE_RECORDS or piece.size >= PIECE_BYTES:
                        piece.following = key
                        break
                    piece.items += 1
                    piece.size += len(key) + len(record) + ITEM_COST
                    if not (all_checked or len(record) < RECORD_SIZE or record[0] & CHECKED):
                        piece.unchecked.append(key)
                        continue
                    try:
                        item_of(key, record, True, all_checked)
                    except DamagedItemError as error:
                        storage.damage.met(error)
                        piece.damaged.append(error)
                else:
                    if last is not None:
                        piece.following = last + b"\0"
        finally:
            reading.end()
    return piece


def verify_all(storage: LmdbStorage, check: Callable[[], None]) -> None:
    """Verify every item.

    Args:
        storage: The environment.
        check: Called again and again. What it raises ends this.

    Raises:
        EngineClosedError: The engine is closed.
        DamagedError: Something is damaged.
        StorageError: LMDB failed.
    """
    reading = storage.reading()
    position: bytes | None = b""
    while position is not None:
        check()
        piece = verify_piece(storage, reading, position)
        if piece.damaged:
            raise piece.damaged[0]
        position = piece.following


class Scrubber:
    """The thread.

    Args:
        storage: The environment.
        submit: Queues operations for the writer thread.
        rate: Bytes to read in a second; 0 to give items their checksums, if they have none, and to verify nothing else.
        pause: Waits for some seconds, and returns whether the scrubber is to end; None for its own.

    Attributes:
        items: The number of items that were verified.
        passes: The number of passes over all items.
        clock: How long they took.
    """

    def __init__(self, storage: LmdbStorage, submit: Submit, rate: int, *, pause: Callable[[float], bool] | None = None) -> None:
        self._storage = storage
        self._submit = submit
        self._rate = rate
        self._closing = threading.Event()
        self._pause = pause if pause is not None else self._closing.wait
        self._thread = threading.Thread(target=self._run_in_thread, name="trio-spool-scrubber", daemon=True)
        self.items = 0
        self.passes = 0
        self.clock = WorkClock()

    def start(self) -> None:
        """Start the thread, if there is anything to do."""
        if self._rate or not self._storage.all_checked:
            self._thread.start()

    def close(self) -> None:
        """End the thread, and wait until it has ended. Harmless if it was never started."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run_in_thread(self) -> None:
        try:
            while True:
                began = time.monotonic()
                with self.clock.running():
                    self.pass_in_thread()
                if not self._rate or self._pause(max(began + PASS_INTERVAL - time.monotonic(), 1.0)):
                    return
        except (EngineClosedError, StorageError):
            pass  # the engine is ending, and knows why

    def pass_in_thread(self) -> None:
        """Verify every item once.

        Raises:
            EngineClosedError: The engine is closed, or the scrubber is.
        """
        storage = self._storage
        were_all_checked = storage.all_checked
        is_sound = True
        reading = storage.reading()
        position: bytes | None = b""
        while position is not None:
            began = time.monotonic()
            try:
                piece = verify_piece(storage, reading, position)
            except DamagedPageError as error:
                is_sound = False
                position = error.behind
                continue
            except DamagedError:  # a page that LMDB has met; nothing behind it can be found from here
                is_sound = False
                break
            position = piece.following
            self.items += piece.items
            if piece.unchecked:
                self._execute(Seal(tuple(piece.unchecked)))
            due = piece.size / (self._rate or SEALING_RATE)
            if self._pause(max(due - (time.monotonic() - began), 0.0)):
                raise EngineClosedError
        if is_sound and not were_all_checked:
            self._execute(Remember(ALL_CHECKED, b""))
            storage.all_checked = True
        self.passes += 1

    def _execute(self, operation: Operation) -> None:
        """Let the writer thread carry out an operation.

        Raises:
            EngineClosedError: The engine or the scrubber is closed meanwhile.
            StorageError: The operation failed.
        """
        finished = threading.Event()
        outcomes: list[Outcome] = []

        def done(answer: list[Outcome]) -> None:
            outcomes.extend(answer)
            finished.set()

        self._submit([operation], done)
        while not finished.wait(1.0):  # nobody tells it if the event loop that passes outcomes on has ended
            if self._closing.is_set():
                raise EngineClosedError
        if outcomes[0].problem is not None:
            raise StorageError(f"records could not be given their checksums: {outcomes[0].problem.value}")
