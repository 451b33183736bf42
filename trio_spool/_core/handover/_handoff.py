"""The hand-over: a worker thread emits fragments, and the event loop takes them as batches.

Two threads meet here. `Emission` is the worker's side, and here is the event loop's. Beside every shared field stands who writes
it. Methods whose names end in ``_in_thread`` are called in the worker thread, all others in the event loop's thread.

The hot path is one fragment added to the buffer and one comparison, without a lock::

    worker                                    event loop
    ------                                    ----------
    add the fragment to the buffer            take: the oldest sealed batch, or else what is being gathered
    is something due ?  --no--> next          nothing there: waiting = True, stop = 0, revoke, and look again
         |yes
    checkpoint: wake a waiting receiver,
    seal a full batch, pause, or yield

What was emitted is compared with ``stop``, at which something is due. When the receiver starts to wait, it sets ``stop`` to 0, so
that the very next fragment leads to the checkpoint. Small fragments of an iterable are written in runs (`Runs`), of as many
fragments as may be emitted before something is due; the receiver revokes the run, which ends it sooner. Both sides write before
they look (the receiver looks at the buffer, the worker at ``waiting`` or ``stop``), so one of the two always sees the other, and no
wake-up is lost. Without the interpreter's lock this holds as well: a store to a slot and an append each end with an atomic
operation, which no later look overtakes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._limits import SpoolLimits
from .._loop import Loop
from .._statistics import SpoolStatistics
from ._emission import Emission


class Handoff(Emission):
    """The bounded hand-over of one producer's fragments to one receiver."""

    __slots__ = (
        "_batches",
        "_failure",
        "_finished",
        "_most_taken",
        "_receiver",
        "_room",
        "give_up",
        "held_seconds",
        "overdue",
        "waited_seconds",
        "waiting",
    )

    def __init__(self, limits: SpoolLimits, loop: Loop) -> None:
        super().__init__(limits, loop)
        # The loop writes all of these.
        self._finished = False  # whether the producer has ended
        self._failure: BaseException | None = None
        self._receiver = loop.sleeper()  # the task in take()
        self._room = loop.sleeper()  # the driver that waits for room
        self.give_up: Callable[[], object] = bool  # called by closing: the driver then waits for a thread no longer
        self.waiting = False  # whether the producer waits for a thread: set by the driver, cleared by a worker as well
        self.waited_seconds = self.held_seconds = 0.0  # for a thread, and with one, in all turns that have ended; set by the driver
        self.overdue = False  # whether it goes on long after it was stopped: set by the watch
        self._batches = 0
        self._most_taken = 0  # the size of the largest batch

    def _yielded(self) -> None:
        self.loop.manners.when_others_have_run(self._baton.release)

    def _woken_by_worker(self) -> None:
        self.loop.manners.called_by_worker(self._receiver.wake)

    def _has_room(self) -> bool:
        return self._emitted - self._taken <= self._limits.low_water

    def take_nowait(self) -> Any:
        """Take the next batch, empty if there is nothing. Call `settle` once the batch has been passed on."""
        batch = self._buffer.take_nowait()
        if batch:
            self._batches += 1
            size = self._buffer.size_taken(batch)
            if size > self._most_taken:
                self._most_taken = size
        return batch

    def settle(self, batch: Any) -> None:
        """Count the batch that was taken last as received, and resume a paused producer if there is room now."""
        self._taken += self._buffer.size_taken(batch)
        if self._baton.parked and not self._baton.yielding and self._may_go_on():
            self._baton.release()
        if self._room.asleep and self._has_room():
            self._room.wake()

    async def take(self) -> Any:
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
    def held(self) -> int:
        """How many bytes were emitted and not yet taken, as far as the worker has counted them."""
        return self._emitted - self._taken

    @property
    def finished(self) -> bool:
        """Whether the producer has ended."""
        return self._finished

    def holds_some(self) -> bool:
        """Return whether there may be something to take."""
        return self._buffer.holds_some()

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
        self.close_in_thread()
        self._receiver.wake()
        self._room.wake()
        self.give_up()

    def statistics(self) -> SpoolStatistics:
        """Return the counters as they are now."""
        return SpoolStatistics(
            fragments=self._buffer.runs.fragments,
            bytes=self._taken,
            batches=self._batches,
            wakeups=self._wakeups,
            turns=self._turns,
            blocked_seconds=self._blocked_seconds,
            high_water=max(self._high_water, self._most_taken),
            waited_seconds=self.waited_seconds,
            held_seconds=self.held_seconds,
            workers=int(self.working),
            waiting=int(self.waiting),
            overdue=int(self.overdue and not self._finished),
        )
