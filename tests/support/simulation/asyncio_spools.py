"""One producer and its receiver in asyncio: scenarios as for Trio."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from .asyncio_strand import run_asyncio
from .baton import Schedule
from .copies import Copy
from .scenarios import STALL, Boom, ClosingBoom, Scenario, SpoolRun, flat

# Whether an interrupt cancels the main task. Before Python 3.11, asyncio raises it wherever it comes, in any task: nothing that
# consists of several steps can be made safe there.
CANCELS_ON_INTERRUPT = sys.version_info >= (3, 11)


class AsyncioSpoolRun(SpoolRun):
    """One run of a scenario under a schedule: `open_spool` in asyncio."""

    def __init__(self, copy: Copy, scenario: Scenario, schedule: Schedule, *, seed: int = 0, tracing: bool = False) -> None:
        super().__init__(copy, scenario, schedule, seed=seed, tracing=tracing)
        self._open = copy.load("asyncio").open_spool
        self._swallowed = self._finished = False

    def _run(self) -> None:
        run_asyncio(self.baton, self._main)

    async def _main(self) -> None:
        try:
            await self._receive_in_task()
        finally:
            self._finished = True

    async def _receive_in_task(self) -> None:
        """Run the receiver in a task of its own, which an event cancels, or in the main task, which an interrupt cancels."""
        scenario, baton = self._scenario, self.baton
        if scenario.event == "ctrl-c" and CANCELS_ON_INTERRUPT:
            baton.at(scenario.at, self._interrupt, "loop")
        if scenario.event != "cancel":
            await self._receive()
            return
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(self._receive())

        def ask_to_cancel() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._cancel, task)

        baton.at(scenario.at, ask_to_cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _receive(self) -> None:
        try:
            await self._receive_in_block(self._open)
        finally:
            self._after_the_block = True
        if self._cancelled or self._interrupted:
            await asyncio.sleep(0)
            self._swallowed = True

    async def _pause(self, pause: int) -> None:
        if pause == STALL:
            await asyncio.sleep(1)
        for _ in range(pause):
            await asyncio.sleep(0)

    def _cancel(self, task: Any) -> None:
        if task.cancel():
            self._cancelled = not self._after_the_block

    def _check_end(self, ended_by: BaseException | None) -> None:
        assert not self._swallowed, "a cancellation was swallowed"
        found = set() if ended_by is None else {type(exc) for exc in flat(ended_by)}
        if self._interrupted and not found & {Boom, ClosingBoom} and not self._too_late:
            assert KeyboardInterrupt in found, f"Ctrl-C was swallowed: {ended_by!r}"
        if self._scenario.raises and not (self._left or self._cancelled or self._interrupted):
            assert found == {Boom}, f"the producer's error became {ended_by!r}"
        if not found & {Boom, ClosingBoom} and not self._interrupted:
            assert not (self._scenario.closing_raises and self._closed_early()), "an error of closing is lost"

    def _interrupt(self) -> None:
        if not self._finished:  # asyncio does not look for interrupts while it shuts down
            self._too_late = self._after_the_block
            super()._interrupt()


class AsyncioStreamRun(AsyncioSpoolRun):
    """The same with `stream`."""

    def __init__(self, copy: Copy, scenario: Scenario, schedule: Schedule, *, seed: int = 0, tracing: bool = False) -> None:
        super().__init__(copy, scenario, schedule, seed=seed, tracing=tracing)
        self._open = copy.load("streams").stream
