"""The hand-over with worker threads and an event loop whose every step is chosen: all interleavings of little, some of much."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

pytest.importorskip("greenlet", reason="the simulation's threads are greenlets")

from support.simulation.baton import Schedule
from support.simulation.copies import Copy
from support.simulation.exploring import Failed, Simulated, explore, try_seeds
from support.simulation.handing_over import HandingOver
from support.simulation.scenarios import draw_small
from support.simulation.subjects import FUZZ, asyncio_run, asyncio_stream_run, silent_run, spool_run, stream_run, subject

# In CI, as many as take, with those of senders, some 30 seconds on two cores: 2 to 4 ms each.
SEEDS = 100_000 if FUZZ else 5_000
PARTS = 4
REPLAY = "Replay it with: SIMULATION_SEED={seed} pytest tests/core/simulation/test_hand_over.py -k 'any_seed"
SEED = os.environ.get("SIMULATION_SEED")


# How many of the seeds are tried with each. The code below is the same.
WAYS = {spool_run: 1, asyncio_run: 0.5, stream_run: 0.3, asyncio_stream_run: 0.3, silent_run: 0.3}


@pytest.mark.timeout(3600 if FUZZ else 240)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_any_seed(way: Callable[[Copy, int, Schedule, bool], Simulated], part: int) -> None:
    seeds = [int(SEED)] if SEED is not None else range(part, int(SEEDS * WAYS[way]), PARTS)
    replay = f"{REPLAY} and {way.__name__}'"
    try_seeds(lambda seed, schedule, tracing: way(subject(), seed, schedule, tracing), seeds, replay)


# Small scenarios, of each of which every schedule with so many interruptions is tried: a hundred schedules with one, some thousands
# with two.
SMALL, INTERRUPTIONS = (200, 2) if FUZZ else (100, 1)


@pytest.mark.timeout(7200 if FUZZ else 240)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_small_scenario_with_all_interruptions(part: int) -> None:
    for seed in range(part, SMALL, PARTS):
        scenario, event = draw_small(seed)

        def run(schedule: Schedule) -> None:
            HandingOver(subject(), scenario, schedule, **event).check()

        try:
            explore(run, INTERRUPTIONS)
        except Failed as exc:
            raise AssertionError(f"{scenario}, {event}: {exc}") from exc.__cause__
