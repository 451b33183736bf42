"""The hand-over alone: `drive` and `take` in the smallest loop, for trying all interleavings."""

from __future__ import annotations

from typing import Any

from .baton import Baton, Schedule, rule
from .copies import Copy
from .scenarios import STALL, Producing, Scenario
from .strand_loop import StrandLoop


class HandingOver:
    """One run of a scenario without its event, which is a third strand here: it can come at any time.

    Args:
        closes: Whether somebody closes the hand-over at some time.
        yields: Whether the worker yields whenever it can.
    """

    def __init__(
        self,
        copy: Copy,
        scenario: Scenario,
        schedule: Schedule,
        *,
        closes: bool = False,
        yields: bool = False,
        tracing: bool = False,
    ) -> None:
        core = copy.load("_core")
        self._scenario = scenario
        self._closes = closes
        self.baton = Baton(schedule, tracing=tracing, recording=True)
        self._loop = loop = StrandLoop(core, self.baton, yields=yields)
        limits = core.SpoolLimits(window=scenario.window, batch=scenario.batch, low_water=scenario.low_water)
        self._drive = core.drive
        self._turns = copy.load("_core.producers._producer").prepare
        self._producing = Producing(scenario, self.baton)
        self._received: list[bytes] = []
        self._left = False
        with rule(self.baton):
            self._handoff: Any = copy.load("_core.handover._handoff").Handoff(limits, loop)
        self._producing.taken = lambda: self._handoff.statistics().bytes

    def check(self) -> None:
        """Run it, and check what must be true in the end."""
        loop = self._loop
        loop.start(self._drive(self._turns(self._producing.make()), self._handoff, None))
        loop.start(self._receive())
        self.baton.spawn("loop", "loop", loop.run)
        if self._closes:
            self.baton.spawn("world", "world", lambda: loop.call_soon_in_thread(self._leave))
        with rule(self.baton):
            try:
                self.baton.run()
            finally:
                self.baton.abandon()
        self._check()

    def _leave(self) -> None:
        self._left = self._producing.left = True
        self._handoff.close()

    async def _receive(self) -> None:
        handoff, scenario = self._handoff, self._scenario
        number = 0
        while (batch := await handoff.take()) is not None:
            handoff.settle(batch)
            self._received.append(batch)
            self._producing.received += len(batch)
            number += 1
            pause = scenario.pauses[number % len(scenario.pauses)]
            if pause == STALL:
                await self._loop.stall()
            for _ in range(pause):
                await self._loop.checkpoint()
            if number == scenario.leaves_after:
                self._leave()
                return

    def _check(self) -> None:
        producing, scenario, handoff = self._producing, self._scenario, self._handoff
        received = b"".join(self._received)
        assert producing.data.startswith(received), f"received {received.hex()}"
        assert producing.ended or not producing.begun
        assert producing.closed == (["worker"] if producing.begun or scenario.kind == "iterator" else [])
        largest = max(scenario.sizes, default=0)
        assert producing.most_held <= scenario.window + largest, f"{producing.most_held} bytes were held"
        statistics = handoff.statistics()
        assert statistics.bytes == len(received) and statistics.workers == 0
        # The last one may have been refused.
        assert producing.fragments - self._left <= statistics.fragments <= producing.fragments
        if not self._left:
            assert received == producing.data
            assert handoff.complete is not scenario.raises
            assert (handoff.failure is not None) == scenario.raises
