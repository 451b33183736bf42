"""Manners in asyncio: a worker that yields is released one whole pass of the loop later, and the pass is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter, thread_time

from .._core import Manners

# A pass that took longer than this many times the shortest one means that something else ran in it: picked, not measured.
_LONGER = 4.0


class AsyncioManners(Manners):
    """Finds out whether anything else runs in the loop, from how long its passes take while workers wait.

    asyncio tells nobody which tasks it runs. But a callback that asks for another one gets it in the next pass, so between the two
    lies everything that was ready: a whole pass.

    Args:
        loop: The loop whose passes are measured.
        clock: Returns the time, in seconds.
        thread_clock: Returns the processor time of the loop's thread, in seconds, so that waiting for the interpreter is left out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = perf_counter,
        thread_clock: Callable[[], float] = thread_time,
    ) -> None:
        super().__init__(clock)
        self._loop = loop
        self._thread_clock = thread_clock
        self._waiting: list[Callable[[], None]] = []
        self._begun = 0.0
        self._empty = float("inf")  # the shortest pass so far

    def called_by_worker(self, function: Callable[[], object]) -> None:
        """Call a function: what workers ask for is a part of every pass that is measured."""
        function()

    def when_others_have_run(self, release: Callable[[], None]) -> None:
        """Let a worker go on when a whole pass has followed the one that is running."""
        self._waiting.append(release)
        if len(self._waiting) == 1:
            # What is ready is found between two passes: a pass that begins with `_begin` has all of it behind `_begin`.
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._begun = self._thread_clock()
        self._loop.call_soon(self._end, self._waiting)
        self._waiting = []

    def _end(self, released: list[Callable[[], None]]) -> None:
        took = self._thread_clock() - self._begun
        if took < self._empty:
            self._empty = took
        elif took > _LONGER * self._empty:
            self.last = self.clock()
        for release in released:
            release()
