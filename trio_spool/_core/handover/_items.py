"""Spools of any objects: a batch is a list, and a size function says what each object weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from .._limits import SpoolLimits
from .._loop import Loop
from ._buffer import Buffer
from ._handoff import Handoff


class Bytes:
    """The type of `BYTES`."""

    def __repr__(self) -> str:
        return "BYTES"


# The default of `size`: a producer emits bytes, and a batch is these, joined.
BYTES: Final = Bytes()
Size = Callable[[Any], int]
# The usual limits where every item counts 1: picked, not measured. A batch is long enough for the cost of a hand-over to be small
# beside that of making its items.
ITEMS = SpoolLimits(window=4096, batch=1024)


def usual_limits(size: Size | Bytes | None) -> SpoolLimits:
    """Return the limits of a spool for which none were given."""
    return ITEMS if size is None else SpoolLimits()


def new_handoff(limits: SpoolLimits, loop: Loop, size: Size | Bytes | None) -> Handoff:
    """Return a hand-over of bytes, or of items that have a size."""
    return Handoff(limits, loop) if isinstance(size, Bytes) else ItemHandoff(limits, loop, size)


def check_size(size: object) -> None:
    """Check what was given as the size of items.

    Raises:
        TypeError: It is neither a function nor None.
    """
    if size is not None and not isinstance(size, Bytes) and not callable(size):
        raise TypeError(f"size must be a function that takes an item, or None for items that count 1 each; got {size!r}")


class ItemBuffer(Buffer):
    """The items and batches of one spool. An item is kept with its size."""

    __slots__ = ("_last",)
    overhead = 0

    def _size_of(self, fragments: list[Any]) -> int:
        return sum(size for _, size in fragments)

    def _sealed_of(self, fragments: list[Any]) -> Any:
        return fragments

    def _batch_of(self, fragments: list[Any]) -> list[Any]:
        self._last = self._size_of(fragments)
        return [item for item, _ in fragments]

    def size_taken(self, batch: Any) -> int:
        return self._last


class ItemHandoff(Handoff):
    """The bounded hand-over of one producer's items.

    Args:
        limits: In the unit of the sizes.
        loop: As for `Handoff`.
        size: Returns what an item weighs; None if each counts 1. Called in the worker thread.
    """

    __slots__ = ("_measure",)
    new_buffer = ItemBuffer

    def __init__(self, limits: SpoolLimits, loop: Loop, size: Size | None) -> None:
        super().__init__(limits, loop)
        self._measure = size

    def _sized_in_thread(self, item: object) -> tuple[object, int]:
        if self._measure is None:
            return item, 1
        size = self._measure(item)
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(
                f"the size of item {self._buffer.number_in_thread()} must be an int that is not negative; got {size!r}"
            )
        return item, max(1, size)  # so that any number of items of no size is bounded as well

    def _emit_some_in_thread(self, fragments: Iterator[object]) -> bool:
        append = self._buffer.open.append
        emitted = self._emitted
        for item in fragments:
            sized = self._sized_in_thread(item)
            append(sized)
            emitted += sized[1]
            if emitted >= self._stop:
                return True
        return False

    def emitter_in_thread(self) -> Callable[[object], int]:
        emitted = self._emitted

        def emit(item: object) -> int:
            nonlocal emitted
            sized = self._sized_in_thread(item)
            self._buffer.open.append(sized)
            emitted += sized[1]
            if emitted >= self._stop:
                try:
                    self._wait_for_room_in_thread(sized[1])
                finally:
                    emitted = self._emitted
            return sized[1]

        return emit


class ItemWriter:
    """What a producer function of items is given. Use it only in the thread that the function runs in."""

    def __init__(self, handoff: Handoff) -> None:
        self._emit = handoff.emitter_in_thread()

    def put(self, item: object) -> None:
        """Emit one item, and block while the window is full.

        Raises:
            SpoolBrokenError: The reader is gone. A `put` that waits for room raises this at once.
            ValueError: The producer function has returned; or the size of the item is negative, or no int.
        """
        self._emit(item)

    def run_in_thread(self, function: Callable[[Any], object]) -> None:
        """Run the producer function with this writer. Called by the library."""
        function(self)

    def end_in_thread(self, *, complete: bool) -> None:
        """Accept nothing more, because the function has ended. Called by the library."""
        self._emit = _refuse_in_thread


def _refuse_in_thread(item: object) -> int:
    raise ValueError("put after the producer function has returned")
