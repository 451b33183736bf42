"""Who counts as wanting the loop beside the streams, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.loops import Run, every_asyncio
from trio_spool._core._manners import LONG
from trio_spool.asyncio import open_spool
from trio_spool.asyncio._loop import asyncio_loop
from trio_spool.asyncio._manners import AsyncioManners


class Passes:
    """A loop of asyncio that runs only when it is told to, and a clock that only callbacks move."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.manners = AsyncioManners(self, lambda: self.time, lambda: self.time)  # type: ignore[arg-type]

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        self._ready.append((function, arguments))

    def is_closed(self) -> bool:
        return False

    def work(self, seconds: float) -> None:
        self.time += seconds

    def run_once(self, *, found: Callable[[], object] | None = None, idle: float = 0.00001) -> None:
        """Run one pass: what was asked for before, and then what was found to be ready."""
        self.time += idle
        ready, self._ready = self._ready, []
        if found is not None:
            ready.append((found, ()))
        for function, arguments in ready:
            function(*arguments)


@pytest.fixture
def passes() -> Passes:
    made = Passes()
    # It learns how long a pass takes in which nothing runs.
    made.manners.when_others_have_run(lambda: None)
    for _ in range(3):
        made.run_once()
    assert not made.manners.measuring
    return made


def test_a_worker_is_released_one_whole_pass_later(passes: Passes) -> None:
    order: list[str] = []
    passes.call_soon(lambda: passes.manners.when_others_have_run(lambda: order.append("released")))
    passes.run_once(found=lambda: order.append("found with the worker's callback"))
    passes.run_once(found=lambda: order.append("found in the next pass"))
    assert order == ["found with the worker's callback", "found in the next pass"]
    passes.run_once()
    assert order[2:] == ["released"]


def test_an_empty_pass_is_nobody_else(passes: Passes) -> None:
    for _ in range(10):
        passes.manners.when_others_have_run(lambda: None)
        for _ in range(3):
            passes.run_once()
    assert passes.manners.last == 0.0


@pytest.mark.parametrize("when", [0, 1])
def test_whatever_runs_in_the_pass_is_somebody_else(passes: Passes, when: int) -> None:
    passes.call_soon(lambda: passes.manners.when_others_have_run(lambda: None))
    for number in range(4):
        passes.run_once(found=lambda number=number: passes.work(0.0001 if number == when else 0))
    assert passes.manners.last == pytest.approx(passes.time, abs=0.001)
    assert passes.manners.others == pytest.approx(0.0001, rel=0.5)  # of which the worker is given a share


def test_a_task_of_a_stream_is_nobody_else(passes: Passes) -> None:
    """Neither one that is resumed before the worker yields, nor one that is resumed while it waits."""
    resumed: list[float] = []

    def resume() -> None:
        passes.call_soon(step)  # as a future does with the task that waits for it

    def step() -> None:
        passes.work(0.01)
        resumed.append(passes.time)

    passes.call_soon(lambda: passes.manners.when_measured(resume))
    passes.call_soon(lambda: passes.manners.when_others_have_run(lambda: None))
    passes.call_soon(lambda: passes.manners.when_measured(resume))
    for _ in range(6):
        passes.run_once()
    assert len(resumed) == 2
    assert passes.manners.last == 0.0


def test_workers_that_yield_meanwhile_wait_for_a_whole_pass_of_their_own(passes: Passes) -> None:
    order: list[str] = []
    passes.manners.when_others_have_run(lambda: order.append("first"))
    passes.run_once()
    passes.call_soon(lambda: passes.manners.when_others_have_run(lambda: order.append("second")))
    passes.run_once()
    assert order == ["first"]
    passes.run_once(found=lambda: order.append("found"))
    passes.run_once()
    assert order == ["first", "found", "second"]


@every_asyncio
def test_a_task_that_does_not_stream_is_given_way_to(run: Run) -> None:
    seen: list[float] = []

    async def main() -> None:
        async def other() -> None:
            while True:
                for _ in range(10_000):
                    pass
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        ours = asyncio_loop().manners

        def rows() -> Iterator[bytes]:
            for _ in range(100_000):
                seen.append(ours.time_slice(0))
                yield b"x" * 100

        async with open_spool(rows()) as batches:
            async for _ in batches:
                pass
        task.cancel()

    run(main)
    assert seen[0] == LONG
    assert min(seen) < LONG / 2


@every_asyncio
def test_a_stream_alone_is_seldom_hurried(run: Run) -> None:
    """It is taken for somebody else where a pass of the loop happens to take long, and recovers soon."""
    seen: list[float] = []

    async def main() -> None:
        ours = asyncio_loop().manners

        def rows() -> Iterator[bytes]:
            for _ in range(300_000):
                seen.append(ours.time_slice(0))
                yield b"x" * 100

        async with open_spool(rows()) as batches:
            async for _ in batches:
                pass

    run(main)
    assert sum(seen) / len(seen) > LONG / 4


def test_a_loop_that_is_never_idle_is_not_taken_for_an_idle_one() -> None:
    passes = Passes()
    for _ in range(10):
        passes.manners.when_others_have_run(lambda: None)
        for _ in range(3):
            passes.run_once(found=lambda: passes.work(0.0001))
    assert passes.manners.last == pytest.approx(passes.time, abs=0.001)
