"""The worker's side of a hand-over: it emits fragments, and does at its checkpoints whatever is due.

`Handoff` is the whole, and says how the two sides work together. All methods here are called in the worker thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from .._limits import SpoolLimits
from .._loop import Loop
from ._baton import Baton
from ._buffer import OVERHEAD, Buffer
from ._fragments import as_bytes
from ._gone import Gone
from ._pace import Pace

# How long, in seconds, a generator whose window is full keeps its thread before it gives it back. A receiver that is merely busy
# makes room sooner than another thread could be started. Picked, not measured.
PATIENCE = 0.002


class Emission:
    """What a worker does to a hand-over, and what it shares with the event loop."""

    __slots__ = (
        "_baton", "_blocked_seconds", "_buffer", "_closing", "_count_in_thread", "_emitted", "_gone", "_high_water", "_limits",
        "_pace", "_stop", "_taken", "_turns", "_waiting", "_wakeups", "loop", "stopped", "working",
    )  # fmt: skip
    new_buffer = Buffer

    def __init__(self, limits: SpoolLimits, loop: Loop) -> None:
        self.loop = loop
        self._limits = limits
        self._buffer = self.new_buffer(limits.batch, loop.new_lock)
        self._pace = Pace(loop, limits.batch)
        self._baton = Baton(loop.new_lock)
        self._gone = Gone()
        # Bytes emitted and taken so far.
        self._emitted = 0  # written by the worker, at checkpoints and after a turn
        self._taken = 0  # written by the loop
        self._count_in_thread: Callable[[], int] = int  # of the emitter: the fragments that the buffer has not counted
        self._stop = 0  # written by both: at how many bytes the worker has something to do
        self._waiting = False  # set by the loop; cleared by the worker, which then wakes the loop
        self._closing = False  # written by the loop
        self.stopped = False  # written by the worker: whether it was stopped before it ended by itself
        self.working = False  # whether a thread is at work: set by the worker, cleared by the driver
        self._wakeups = 0  # written by the worker, like the next three
        self._turns = 0
        self._blocked_seconds = 0.0
        self._high_water = 0

    @abstractmethod
    def _woken_by_worker(self) -> None:
        """Wake the receiver. Called in the loop, for the worker."""

    @abstractmethod
    def _yielded(self) -> None:
        """Let the worker go on, once others have run. Called in the loop, for the worker."""

    def spool_in_thread(self, fragments: Iterator[object]) -> bool:
        """Emit fragments for one turn.

        Returns:
            True if the turn is over because the window is full or the receiver is gone, False if the producer has
            no more fragments.
        """
        self._begin_turn_in_thread()
        try:
            while self._emit_some_in_thread(fragments):
                if self._checkpoint_in_thread():
                    self._buffer.put_away_in_thread()
                    return True
        finally:
            self._end_turn_in_thread()
        return False

    def _emit_some_in_thread(self, fragments: Iterator[object]) -> bool:
        """Emit fragments until something is due. Return False if there are no more."""
        buffer = self._buffer
        if not buffer.small:
            return self._list_some_in_thread(fragments)
        buffer.runs.prepare(self._stop - self._emitted)
        if not self._stop:
            buffer.runs.revoke()  # the receiver may have begun to wait before there was a run to revoke
        return buffer.runs.write(fragments, buffer.collected)

    def _list_some_in_thread(self, fragments: Iterator[object]) -> bool:
        open_part = self._buffer.open
        append = open_part.append
        emitted = self._emitted
        for fragment in fragments:
            if type(fragment) is not bytes:
                fragment = as_bytes(fragment, self._buffer.number_in_thread())
            append(fragment)
            emitted += len(fragment) + OVERHEAD
            if emitted >= self._stop:
                return True
        return False

    def emitter_in_thread(self) -> Callable[[Any], int]:
        """Return what emits one fragment of a producer that can't be suspended, and blocks while the window is full.

        It returns the size of the fragment in bytes. It raises `SpoolBrokenError` if the receiver is gone, and TypeError if the
        fragment is not bytes-like. It is a closure, which finds its variables sooner than a method: at 100 B, this is half of the
        cost of a fragment.
        """
        buffer = self._buffer
        emitted = self._emitted
        collected = 0  # fragments that were written into the buffer for small ones, and not yet counted

        def count() -> int:
            nonlocal collected
            uncounted, collected = collected, 0
            return uncounted

        def list_one(fragment: Any) -> int:
            nonlocal emitted, collected
            if type(fragment) is not bytes:
                fragment = as_bytes(fragment, buffer.number_in_thread())
            buffer.open.append(fragment)
            emitted += OVERHEAD
            collected -= 1  # the buffer counts it
            return len(fragment)

        add: Callable[[Any], int] = list_one
        self._count_in_thread = count

        def emit(fragment: Any) -> int:
            nonlocal emitted, collected, add
            try:
                size = add(fragment)
            except BufferError:  # it is not contiguous
                size = add(as_bytes(fragment, buffer.number_in_thread()))
            collected += 1
            emitted += size
            if emitted >= self._stop:
                try:
                    self._wait_for_room_in_thread(size)
                finally:
                    add = buffer.collected.write if buffer.small else list_one  # perhaps another one now
                    emitted = self._emitted
            return size

        return emit

    def _wait_for_room_in_thread(self, size: int) -> None:
        """Do what is due after a fragment of so many bytes, and wait while the window is full."""
        if self._closing:
            self.stopped = True
            self._buffer.take_back_in_thread(size)
            return self._gone.refuse_in_thread()
        while self._checkpoint_in_thread():
            if self.stopped:
                return self._gone.refuse_in_thread()
            started = self.loop.clock()
            self.loop.manners.busy.discard(self)
            self._baton.park_in_thread(self._may_go_on)
            self.loop.manners.busy.add(self)
            self._blocked_seconds += self.loop.clock() - started

    def run_in_thread(self, function: Callable[[], object]) -> None:
        """Run a producer that can't be suspended. It has one turn, and emits with `emitter_in_thread`."""
        self._begin_turn_in_thread()
        try:
            function()
        finally:
            self._end_turn_in_thread()

    def _begin_turn_in_thread(self) -> None:
        self._turns += 1
        self.working = True
        self.loop.manners.busy.add(self)
        self._pace.begin()
        self._stop = 0

    def _end_turn_in_thread(self) -> None:
        self._publish_in_thread()
        self.loop.manners.busy.discard(self)

    def _publish_in_thread(self) -> None:
        self._emitted = self._buffer.measure_in_thread(self._count_in_thread())
        self._high_water = max(self._high_water, self._emitted - self._taken)

    def _checkpoint_in_thread(self) -> bool:
        """Do whatever is due: wake the receiver, seal a batch, wait for room, or yield to the event loop.

        Returns:
            Whether the worker must stop, because the window is full or the receiver is gone (then `stopped` is set).
        """
        self._publish_in_thread()
        self._buffer.tidy_in_thread(self._batch_size())
        if self._waiting and self._buffer.holds_some():
            self._wake_in_thread()
        while not self._closing and self._emitted - self._taken >= self._limits.window:
            if not self._baton.park_in_thread(self._may_go_on, PATIENCE):
                return True
        if self._closing:
            self.stopped = True
            return True
        if self._pace.is_due():
            self._yield_in_thread()
        self._stop = self._next_stop_in_thread()
        if self._waiting or self._closing:
            self._stop = 0
        return False

    def _batch_size(self) -> int:
        # To join and to write a batch takes the loop 0.2 ms for 512 KiB. While others want the loop, they wait for less of it.
        return max(1, self._limits.batch >> 2) if self._pace.hurried else self._limits.batch

    def _next_stop_in_thread(self) -> int:
        """Return how many bytes may be emitted before the window is full, a batch is, or it is time to look at the clock."""
        limits = self._limits
        until_full = self._batch_size() - self._buffer.charge()
        return min(self._taken + limits.window, self._emitted + max(1, until_full), self._emitted + self._pace.look_bytes)

    def _yield_in_thread(self) -> None:
        self._pace.let_go()
        self._baton.yield_in_thread(lambda: self._call_soon_in_thread(self._yielded))
        self._pace.begin()

    def _wake_in_thread(self) -> None:
        self._waiting = False
        self._call_soon_in_thread(self._woken_by_worker)

    def _call_soon_in_thread(self, function: Callable[[], object]) -> None:
        self._wakeups += 1
        if not self.loop.call_soon_in_thread(function):
            self.close_in_thread()

    def close_in_thread(self) -> None:
        """Have the producer stop at its next fragment, or at once if it is parked. Enough where no loop is left to wake."""
        self._closing = True
        self._stop = 0
        self._buffer.runs.revoke()
        self._baton.release()

    def _may_go_on(self) -> bool:
        # A worker that waits with its thread goes on as soon as there is room for a batch: it fills one while the last one is being
        # sent. Measured: if it waited for the low-water mark, the two would work in alternation, at three quarters of the speed.
        room = max(self._limits.window - self._limits.batch, self._limits.low_water)
        return self._closing or self._emitted - self._taken <= room
