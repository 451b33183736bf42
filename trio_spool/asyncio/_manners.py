"""Manners in asyncio: a worker that yields is released one whole pass of the loop later, and that pass is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time

from .._core import Manners
from ._tasks import resume

# How many times as long as the shortest pass a pass must be, so that something else has run in it. Measured with timers of 1 ms
# beside two busy streams: with 2, they were 0.3 to 0.5 ms late; with 3.5, on uvloop, 3.4 ms; without manners, 8 ms. A stream alone,
# whose passes are now and then taken for somebody else's, kept 0.8 to 1.1 times the pace that it has without manners.
_LONGER = 2.0
# The longest that an empty pass is believed to take, in seconds of processor time. Measured: 6 µs on asyncio and 5 µs on uvloop;
# other machines may be slower. Without this, a loop that is never idle would be taken for an idle one.
_EMPTY = 0.000015


class AsyncioManners(Manners):
    """Finds out whether anything else runs in the loop, from how long its passes take while workers wait.

    asyncio tells nobody which tasks it runs. But it runs callbacks in the order in which they were asked for, so when a callback
    has asked for another one, and that for a third, all that was ready has run in between. Tasks of streams are not resumed in
    that time. What is left is the loop itself, which takes about as long each time, and the tasks of others.

    Args:
        loop: The loop.
        clock: Returns the time, in seconds.
        thread_clock: Returns the processor time of the loop's thread, in seconds: waiting for the interpreter is left out.

    Attributes:
        measuring: Whether workers wait for the end of a pass that is measured.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = perf_counter,
        thread_clock: Callable[[], float] = thread_time,
    ) -> None:
        super().__init__(clock)
        self.measuring = False
        self._loop = loop
        self._thread_clock = thread_clock
        self._yielded: list[Callable[[], None]] = []  # release the workers that wait
        self._resumed: list[Callable[[], None]] = []  # resume the tasks of streams that wait
        self._steps = 0  # of tasks of streams that were resumed and have not yet run
        self._begun = 0.0
        self._shortest = _EMPTY

    def called_by_worker(self, function: Callable[[], object]) -> None:
        """Call a function: only passes for which workers wait are looked at."""
        function()

    def when_others_have_run(self, release: Callable[[], None]) -> None:
        """Let a worker go on when a whole pass has followed the one that is running."""
        self._yielded.append(release)
        if not self.measuring:
            self.measuring = True
            if not self._steps:
                self._begin()

    def when_measured(self, step: Callable[[], None]) -> None:
        """Call a function that has a task of a stream go on, but not in a pass that is measured."""
        if self.measuring:
            self._resumed.append(step)
        elif not self._loop.is_closed():
            step()
            self._steps += 1
            self._loop.call_soon(self._step_has_run)

    async def checkpoint(self) -> None:
        """Let other tasks run, as a task of a stream."""
        if self.measuring:
            future = self._loop.create_future()
            self._resumed.append(partial(resume, future))
            await future
        else:
            self._steps += 1
            self._loop.call_soon(self._loop.call_soon, self._step_has_run)  # the step comes between the two
            await asyncio.sleep(0)

    def _step_has_run(self) -> None:
        self._steps -= 1
        if self.measuring and not self._steps:
            self._begin()

    def _begin(self) -> None:
        self._begun = self._thread_clock()
        # This pass is not whole: the loop looks for what is ready between two passes.
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._loop.call_soon(self._end, len(self._yielded))

    def _end(self, count: int) -> None:
        took = self._thread_clock() - self._begun
        self._shortest = min(self._shortest, took)
        if took > _LONGER * self._shortest:
            self.last = self.clock()
            self.others += took
        self.measuring = False
        released, resumed = self._yielded[:count], self._resumed
        del self._yielded[:count]
        self._resumed = []
        for release in released:
            release()
        for step in resumed:
            self.when_measured(step)
        if self._yielded:
            self.measuring = True
            if not self._steps:
                self._begin()
