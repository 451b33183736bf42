"""The hand-over: what a worker thread emits and the event loop takes.

Two threads meet here. Everything that is shared says who writes it. The worker's side is the methods whose
names end in ``_in_thread``; the rest belongs to the event loop's thread.

The hot path is one fragment written into a buffer and one comparison, without a lock::

    worker                                    event loop
    ------                                    ----------
    open.write(fragment)                      take: the oldest sealed batch, or else what is new in `open`
    is something due ?  --no--> next          nothing there: waiting = True, stop = 0, revoke, and look again
         |yes
    checkpoint: wake a waiting receiver,
    seal a full batch, pause, or yield

An iterable's fragments are written in runs (`Runs`), as many as may be emitted before something is due; a run is over sooner when
it is revoked. A function's are written one by one, and compared with ``stop``, the total at which something is due. The receiver
revokes and sets ``stop`` to 0 when it starts to wait, so that the very next fragment comes to the checkpoint. Both sides write
before they look (the receiver looks at ``open``, the worker at ``waiting`` or ``stop``), so one of the two always sees the other,
and no wake-up is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import perf_counter, thread_time

import trio

from ._buffer import Buffer
from ._errors import SpoolBrokenError
from ._limits import SpoolLimits
from ._manners import manners
from ._statistics import SpoolStatistics

# A generator whose window is full keeps its thread for this long, in seconds, before it gives it back: a receiver that is
# merely busy makes room sooner than another thread could be started.
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
        "_resume",
        "_stop",
        "_taken",
        "_token",
        "_total",
        "_turns",
        "_waiting",
        "_wakeups",
        "_yielded",
        "driving",
        "stopped",
        "working",
    )

    def __init__(self, limits: SpoolLimits) -> None:
        self._limits = limits
        self._manners = manners()
        self._token = trio.lowlevel.current_trio_token()
        self._buffer = Buffer(limits.batch)
        # Bytes emitted and taken so far.
        self._emitted = 0  # the worker's, published at checkpoints and after a turn
        self._taken = 0  # the loop's
        self._stop = 0  # both: see above
        self._waiting = False  # the loop sets it; the worker clears it and wakes the loop
        self._closing = False  # the loop's
        self._finished = False  # the loop's: the producer has ended
        self._failure: BaseException | None = None  # the loop's
        self._receiver: trio.lowlevel.Task | None = None  # the loop's: the task in take()
        self._resume: trio.Event | None = None  # the loop's: the driver waits for room
        self._baton = threading.Lock()  # a parked worker waits for it; the loop releases it
        self._baton.acquire()
        self._lock = threading.Lock()  # held to park a worker and to release it
        self._parked = False  # the worker sets it before it waits; the loop clears it
        self.stopped = False  # the worker's: it was stopped before it had ended by itself
        self.working = False  # a thread is at work for it: the worker sets it, the driver clears it
        self.driving = trio.CancelScope(shield=True)  # the driver's: closing cancels its waits
        self._held_since = 0.0  # the worker's: its processor time when it last let go of the interpreter
        self._yielded = 0.0  # the worker's: how long it let the event loop run at last, in seconds
        self._looked_at = 0.0  # the worker's: its processor time at its last look
        self._look_bytes = 4096  # the worker's: how much is emitted between two looks at the clock
        self._wakeups = 0  # the worker's, like the next three
        self._turns = 0
        self._blocked_seconds = 0.0
        self._high_water = 0
        self._batches = 0  # the loop's, like the next two
        self._total = 0
        self._most_taken_of = 0  # the most that was there when something was taken

    # The worker's side

    def spool_in_thread(self, fragments: Iterator[object]) -> bool:
        """Emit fragments for one turn.

        Returns:
            True if the turn is over because the window is full or the receiver is gone, False if there are no
            more fragments.
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
        """Emit as many fragments as may be before something is due, or one; return False if there are no more."""
        buffer = self._buffer
        if buffer.runs.prepare(self._stop - self._emitted):
            if not self._stop:
                buffer.runs.revoke()  # the receiver has begun to wait, perhaps before the run was there to be revoked
            return buffer.runs.write(fragments, buffer.open)
        for fragment in fragments:
            buffer.put_in_thread(fragment)
            return True
        return False

    def emit_in_thread(self, fragment: object) -> int:
        """Emit one fragment of a producer that can't be suspended, and block while the window is full.

        Returns:
            Its size in bytes.

        Raises:
            SpoolBrokenError: The receiver is gone.
            TypeError: The fragment is not bytes-like.
        """
        if self._closing:
            self.stopped = True
            raise SpoolBrokenError("nobody reads this spool any more")
        buffer = self._buffer
        if type(fragment) is bytes and len(fragment) < buffer.small:  # as `put_in_thread` does, without the call
            size = buffer.open.write(fragment)
            buffer.runs.fragments += 1
        else:
            size = buffer.put_in_thread(fragment)
        emitted = self._emitted + size
        self._emitted = emitted
        if emitted >= self._stop:
            while self._checkpoint_in_thread():
                if self.stopped:
                    raise SpoolBrokenError("nobody reads this spool any more")
                started = perf_counter()
                self._manners.busy.discard(self)
                self._park_in_thread(yielding=False)
                self._manners.busy.add(self)
                self._blocked_seconds += perf_counter() - started
        return size

    def run_in_thread(self, function: Callable[[], object]) -> None:
        """Run a producer that can't be suspended: it emits by `emit_in_thread`, and has one turn."""
        self._begin_turn_in_thread()
        try:
            function()
        finally:
            self._end_turn_in_thread()

    def _begin_turn_in_thread(self) -> None:
        self._turns += 1
        self.working = True
        self._manners.busy.add(self)
        self._held_since = self._looked_at = thread_time()
        self._stop = 0

    def _end_turn_in_thread(self) -> None:
        self._publish_in_thread()
        self._manners.busy.discard(self)

    def _checkpoint_in_thread(self) -> bool:
        """Do what is due now.

        Returns:
            Whether the worker should stop: the window is full, or the receiver is gone (`stopped` is set).
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
        self._yield_in_thread(thread_time())
        self._stop = min(self._taken + limits.window, self._buffer.sealed_at + limits.batch, emitted + self._look_bytes)
        if self._waiting or self._closing:
            self._stop = 0
        return False

    def _yield_in_thread(self, now: float) -> None:
        """Let the event loop run if it is time to, and settle when to look at the clock again: the look is a system call."""
        time_slice = self._manners.time_slice(self._yielded)
        elapsed = now - self._looked_at
        self._looked_at = now
        if elapsed > time_slice / 2:
            self._look_bytes = max(1, self._look_bytes // 2)
        elif elapsed < time_slice / 8:
            self._look_bytes = min(self._limits.batch, self._look_bytes * 2)
        if now - self._held_since > time_slice:
            started = perf_counter()
            self._park_in_thread(yielding=True)
            self._yielded = perf_counter() - started
            self._held_since = self._looked_at = thread_time()

    def _wake_in_thread(self) -> None:
        self._waiting = False
        self._wakeups += 1
        self._token.run_sync_soon(self._woken_by_worker)

    def _park_in_thread(self, *, yielding: bool, patience: float = -1) -> bool:
        """Block this thread until the event loop has run (`yielding`), or until there is room.

        Returns:
            False if there was none within `patience` seconds.
        """
        self._parked = True
        self._wakeups += 1
        self._token.run_sync_soon(self._consider_parked, yielding)
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
        if yielding or self._closing or self._has_room_for_parked():
            self._release_parked()

    def _release_parked(self) -> None:
        with self._lock:
            if self._parked:
                self._parked = False
                self._baton.release()

    def _woken_by_worker(self) -> None:
        self._manners.called_by_worker()
        self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    def _has_room_for_parked(self) -> bool:
        # A worker that waits with its thread goes on as soon as there is room for a batch: it fills that while the last one is
        # being sent. Waiting for the low-water mark would let the two take turns, at three quarters of the speed.
        room = max(self._limits.window - self._limits.batch, self._limits.low_water)
        return self._emitted - self._taken <= room

    def _has_room(self) -> bool:
        return self._emitted - self._taken <= self._limits.low_water

    def take_nowait(self) -> bytes:
        """Take the next batch; empty if nothing is there. `settle` it once it is out of our hands."""
        held = self._buffer.emitted() - self._taken
        batch = self._buffer.take_nowait()
        if batch:
            self._batches += 1
            if held > self._most_taken_of:
                self._most_taken_of = held
        return batch

    def settle(self, batch: bytes) -> None:
        """Say that the receiver has what was taken; a paused producer is resumed if there is room now."""
        size = len(batch)
        self._taken += size
        self._total += size
        if self._parked and self._has_room_for_parked():
            self._release_parked()
        if self._resume is not None and self._has_room():
            self._resume.set()

    async def take(self) -> bytes | None:
        """Take the next batch, or None when the producer has ended and all it emitted was taken, or after `close`.

        Not a checkpoint when a batch is there: what the caller does with it is.
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
            self._receiver = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort_take)
        return batch

    def _abort_take(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        self._waiting = False
        return trio.lowlevel.Abort.SUCCEEDED

    @property
    def closing(self) -> bool:
        """Whether the receiver has left."""
        return self._closing

    @property
    def failure(self) -> BaseException | None:
        """What the producer raised, known once it has ended."""
        return self._failure

    @property
    def closing_error(self) -> BaseException | None:
        """What the producer raised when it was stopped, known once it has ended."""
        return self._failure if self.stopped else None

    @property
    def complete(self) -> bool:
        """Whether the producer has come to its own end."""
        return self._finished and self._failure is None and not self.stopped

    def discard(self) -> None:
        """Let go of what nobody will take. The producer must have ended."""
        self._buffer.discard()

    async def wait_room(self) -> None:
        """Wait until a producer that gave its thread back may have another turn."""
        if self._has_room():
            return
        self._resume = trio.Event()
        started = perf_counter()
        try:
            await self._resume.wait()
        finally:
            self._resume = None
            self._blocked_seconds += perf_counter() - started

    def finish(self, failure: BaseException | None) -> None:
        """Say that the producer has ended."""
        self._finished = True
        self._failure = failure
        self._wake_receiver()

    def close(self) -> None:
        """Say that the receiver is gone: the producer stops at its next fragment, or at once if it is paused."""
        self._closing = True
        self._stop = 0
        self._buffer.runs.revoke()
        self._release_parked()
        self._wake_receiver()
        self.driving.cancel()

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
