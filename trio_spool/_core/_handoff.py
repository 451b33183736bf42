"""The hand-over: a worker thread emits fragments, and the event loop takes them as batches.

Two threads meet here. Beside every shared field stands who writes it. Methods whose names end in
``_in_thread`` are called in the worker thread, all others in the event loop's thread.

The hot path is one fragment written into a buffer and one comparison, without a lock::

    worker                                    event loop
    ------                                    ----------
    open.write(fragment)                      take: the oldest sealed batch, or else what is new in `open`
    is something due ?  --no--> next          nothing there: waiting = True, stop = 0, revoke, and look again
         |yes
    checkpoint: wake a waiting receiver,
    seal a full batch, pause, or yield

An iterable's fragments are written in runs (`Runs`) of as many fragments as may be emitted before something is due. Revoking a
run ends it sooner. A function's fragments are written one by one, and their total is compared with ``stop``, at which something is
due. When the receiver starts to wait, it revokes the run and sets ``stop`` to 0, so that the very next fragment leads to the
checkpoint. Both sides write before they look (the receiver looks at ``open``, the worker at ``waiting`` or ``stop``), so one of the
two always sees the other, and no wake-up is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ._buffer import Buffer
from ._errors import SpoolBrokenError
from ._limits import SpoolLimits
from ._loop import Loop
from ._statistics import SpoolStatistics

# How long, in seconds, a generator whose window is full keeps its thread before it gives it back. A receiver that is merely busy
# makes room sooner than another thread could be started. Picked, not measured.
PATIENCE = 0.002


class Handoff:
    """The bounded hand-over of one producer's fragments to one receiver."""

    __slots__ = (
        "_batches",
        "_baton",
        "_blocked_seconds",
        "_buffer",
        "_closing",
        "_emitted",
        "_failure",
        "_finished",
        "_held_since",
        "_high_water",
        "_limits",
        "_lock",
        "_look_bytes",
        "_looked_at",
        "_manners",
        "_most_taken_of",
        "_parked",
        "_receiver",
        "_room",
        "_stop",
        "_taken",
        "_total",
        "_turns",
        "_waiting",
        "_wakeups",
        "_yielded",
        "give_up",
        "loop",
        "stopped",
        "working",
    )

    def __init__(self, limits: SpoolLimits, loop: Loop) -> None:
        self.loop = loop
        self._limits = limits
        self._manners = loop.manners
        self._buffer = Buffer(limits.batch)
        # Bytes emitted and taken so far.
        self._emitted = 0  # written by the worker, at checkpoints and after a turn
        self._taken = 0  # written by the loop
        self._stop = 0  # written by both: see above
        self._waiting = False  # set by the loop; cleared by the worker, which then wakes the loop
        self._closing = False  # written by the loop
        self._finished = False  # written by the loop: whether the producer has ended
        self._failure: BaseException | None = None  # written by the loop
        self._receiver = loop.sleeper()  # the task in take()
        self._room = loop.sleeper()  # the driver that waits for room
        self._baton = loop.new_lock()  # a parked worker waits for this lock; the loop releases it
        self._baton.acquire()
        self._lock = loop.new_lock()  # held to park a worker and to release it
        self._parked = False  # set by the worker before it waits; cleared by the loop
        self.stopped = False  # written by the worker: whether it was stopped before it ended by itself
        self.working = False  # whether a thread is at work: set by the worker, cleared by the driver
        self.give_up: Callable[[], object] = bool  # called by closing: the driver then waits for a thread no longer
        self._held_since = 0.0  # written by the worker: its processor time when it last let go of the interpreter
        self._yielded = 0.0  # written by the worker: how long it last let the event loop run, in seconds
        self._looked_at = 0.0  # written by the worker: its processor time when it last looked at the clock
        # Written by the worker: the bytes emitted between two looks at the clock. It adapts; where it begins was picked.
        self._look_bytes = 4096
        self._wakeups = 0  # written by the worker, like the next three
        self._turns = 0
        self._blocked_seconds = 0.0
        self._high_water = 0
        self._batches = 0  # written by the loop, like the next two
        self._total = 0
        self._most_taken_of = 0  # the maximum number of bytes held when something was taken

    # The worker's side

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

    def _publish_in_thread(self) -> None:
        self._emitted = self._buffer.emitted()
        self._high_water = max(self._high_water, self._emitted - self._taken)

    def _emit_some_in_thread(self, fragments: Iterator[object]) -> bool:
        """Emit the fragments that fit before something is due, or one fragment. Return False if there are no more."""
        buffer = self._buffer
        if buffer.runs.prepare(self._stop - self._emitted):
            if not self._stop:
                buffer.runs.revoke()  # the receiver may have begun to wait before there was a run to revoke
            return buffer.runs.write(fragments, buffer.open)
        for fragment in fragments:
            buffer.put_in_thread(fragment)
            return True
        return False

    def emit_in_thread(self, fragment: object) -> int:
        """Emit one fragment of a producer that can't be suspended, and block while the window is full.

        Returns:
            The size of the fragment in bytes.

        Raises:
            SpoolBrokenError: The receiver is gone.
            TypeError: The fragment is not bytes-like.
        """
        if self._closing:
            self.stopped = True
            raise SpoolBrokenError("the reader of this spool is gone")
        buffer = self._buffer
        if type(fragment) is bytes and len(fragment) < buffer.small:  # the same as `put_in_thread`, without the call
            size = buffer.open.write(fragment)
            buffer.runs.fragments += 1
        else:
            size = buffer.put_in_thread(fragment)
        emitted = self._emitted + size
        self._emitted = emitted
        if emitted >= self._stop:
            while self._checkpoint_in_thread():
                if self.stopped:
                    raise SpoolBrokenError("the reader of this spool is gone")
                started = self.loop.clock()
                self._manners.busy.discard(self)
                self._park_in_thread(yielding=False)
                self._manners.busy.add(self)
                self._blocked_seconds += self.loop.clock() - started
        return size

    def run_in_thread(self, function: Callable[[], object]) -> None:
        """Run a producer that can't be suspended. It has one turn, and calls `emit_in_thread`."""
        self._begin_turn_in_thread()
        try:
            function()
        finally:
            self._end_turn_in_thread()

    def _begin_turn_in_thread(self) -> None:
        self._turns += 1
        self.working = True
        self._manners.busy.add(self)
        self._held_since = self._looked_at = self.loop.thread_clock()
        self._stop = 0

    def _end_turn_in_thread(self) -> None:
        self._publish_in_thread()
        self._manners.busy.discard(self)

    def _checkpoint_in_thread(self) -> bool:
        """Do whatever is due: wake the receiver, seal a batch, wait for room, or yield to the event loop.

        Returns:
            Whether the worker must stop, because the window is full or the receiver is gone (then `stopped` is set).
        """
        limits = self._limits
        self._publish_in_thread()
        emitted = self._emitted
        self._buffer.tidy_in_thread()
        if self._waiting and self._buffer.holds_some():
            self._wake_in_thread()
        while not self._closing and emitted - self._taken >= limits.window:
            if not self._park_in_thread(yielding=False, patience=PATIENCE):
                return True
        if self._closing:
            self.stopped = True
            return True
        self._yield_in_thread(self.loop.thread_clock())
        self._stop = min(self._taken + limits.window, self._buffer.sealed_at + limits.batch, emitted + self._look_bytes)
        if self._waiting or self._closing:
            self._stop = 0
        return False

    def _yield_in_thread(self, now: float) -> None:
        """Let the event loop run if it is time to. Decide when to look at the clock again, since each look is a system call."""
        time_slice = self._manners.time_slice(self._yielded)
        elapsed = now - self._looked_at
        self._looked_at = now
        if elapsed > time_slice / 2:
            self._look_bytes = max(1, self._look_bytes // 2)
        elif elapsed < time_slice / 8:
            self._look_bytes = min(self._limits.batch, self._look_bytes * 2)
        if now - self._held_since > time_slice:
            started = self.loop.clock()
            self._park_in_thread(yielding=True)
            self._yielded = self.loop.clock() - started
            self._held_since = self._looked_at = self.loop.thread_clock()

    def _wake_in_thread(self) -> None:
        self._waiting = False
        self._wakeups += 1
        self._call_soon_in_thread(self._woken_by_worker)

    def _call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> None:
        if not self.loop.call_soon_in_thread(function, *arguments):
            self.close_in_thread()

    def close_in_thread(self) -> None:
        """Note that the loop has ended, and nobody will take anything any more."""
        self._closing = True
        self._stop = 0
        self._release_parked()

    def _park_in_thread(self, *, yielding: bool, patience: float = -1) -> bool:
        """Block this thread until the event loop has run (with `yielding`), or until there is room.

        Returns:
            False if there was no room within `patience` seconds.
        """
        self._parked = True
        self._wakeups += 1
        self._call_soon_in_thread(self._consider_parked, yielding)
        if self._baton.acquire(timeout=patience):
            return True
        with self._lock:
            if self._parked:
                self._parked = False
                return False
        self._baton.acquire()
        return True

    # The event loop's side

    def _consider_parked(self, yielding: bool) -> None:
        self._manners.called_by_worker()
        if yielding:
            self._manners.when_others_have_run(self._release_parked)
        elif self._closing or self._has_room_for_parked():
            self._release_parked()

    def _release_parked(self) -> None:
        with self._lock:
            if self._parked:
                self._parked = False
                self._baton.release()

    def _woken_by_worker(self) -> None:
        self._manners.called_by_worker()
        self._receiver.wake()

    def _has_room_for_parked(self) -> bool:
        # A worker that waits with its thread goes on as soon as there is room for a batch: it fills one while the last one is being
        # sent. Measured: if it waited for the low-water mark, the two would work in alternation, at three quarters of the speed.
        room = max(self._limits.window - self._limits.batch, self._limits.low_water)
        return self._emitted - self._taken <= room

    def _has_room(self) -> bool:
        return self._emitted - self._taken <= self._limits.low_water

    def take_nowait(self) -> bytes:
        """Take the next batch, empty if there is nothing. Call `settle` once the batch has been passed on."""
        held = self._buffer.emitted() - self._taken
        batch = self._buffer.take_nowait()
        if batch:
            self._batches += 1
            if held > self._most_taken_of:
                self._most_taken_of = held
        return batch

    def settle(self, batch: bytes) -> None:
        """Count a batch as received, and resume a paused producer if there is room now."""
        size = len(batch)
        self._taken += size
        self._total += size
        if self._parked and self._has_room_for_parked():
            self._release_parked()
        if self._room.asleep and self._has_room():
            self._room.wake()

    async def take(self) -> bytes | None:
        """Wait for the next batch. Return None when everything was taken and the producer has ended, or after `close`.

        This is not a checkpoint if a batch is there: the caller's use of the batch is one.
        """
        while not (batch := self.take_nowait()):
            if self._finished or self._closing:
                return None
            self._waiting = True
            self._stop = 0
            self._buffer.runs.revoke()
            if batch := self.take_nowait():
                self._waiting = False
                return batch
            try:
                await self._receiver.sleep()
            finally:
                self._waiting = False
        return batch

    @property
    def closing(self) -> bool:
        """Whether the receiver has left."""
        return self._closing

    @property
    def failure(self) -> BaseException | None:
        """The producer's exception, known once the producer has ended."""
        return self._failure

    @property
    def closing_error(self) -> BaseException | None:
        """The producer's exception if it was stopped, known once the producer has ended."""
        return self._failure if self.stopped else None

    @property
    def complete(self) -> bool:
        """Whether the producer has ended by itself and without an error."""
        return self._finished and self._failure is None and not self.stopped

    def discard(self) -> None:
        """Drop the bytes that nobody will take. The producer must have ended."""
        self._buffer.discard()

    async def wait_room(self) -> None:
        """Wait until a producer that has given its thread back may have another turn, or is to be closed."""
        if self._closing or self._has_room():
            return
        started = self.loop.clock()
        try:
            await self._room.sleep()
        finally:
            self._blocked_seconds += self.loop.clock() - started

    def finish(self, failure: BaseException | None) -> None:
        """Note that the producer has ended, and wake the receiver."""
        self._finished = True
        self._failure = failure
        self._receiver.wake()

    def close(self) -> None:
        """Note that the receiver is gone. The producer stops at its next fragment, or at once if it is paused."""
        self._closing = True
        self._stop = 0
        self._buffer.runs.revoke()
        self._release_parked()
        self._receiver.wake()
        self._room.wake()
        self.give_up()

    def statistics(self) -> SpoolStatistics:
        """Return the counters as they are now."""
        return SpoolStatistics(
            fragments=self._buffer.runs.fragments,
            bytes=self._total,
            batches=self._batches,
            wakeups=self._wakeups,
            turns=self._turns,
            blocked_seconds=self._blocked_seconds,
            high_water=max(self._high_water, self._most_taken_of),
            workers=int(self.working),
        )
