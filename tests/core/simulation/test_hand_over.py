"""The hand-over with worker threads and an event loop whose every step is chosen: all interleavings of little, some of much."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("greenlet", reason="the simulation's threads are greenlets")

from support.simulation.baton import Schedule
from support.simulation.exploring import Failed, explore, try_seeds
from support.simulation.handing_over import HandingOver
from support.simulation.scenarios import draw_small
from support.simulation.subjects import FUZZ, asyncio_run, spool_run, subject

# In CI, as many as take some 20 seconds on an idle machine: 2 ms each.
SEEDS = 100_000 if FUZZ else 8_000
PARTS = 4
REPLAY = "Replay it with: SIMULATION_SEED={seed} pytest tests/core/simulation/test_hand_over.py -k any_seed"
SEED = os.environ.get("SIMULATION_SEED")


@pytest.mark.timeout(3600 if FUZZ else 240)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_seed(part: int) -> None:
    seeds = [int(SEED)] if SEED is not None else range(part, SEEDS, PARTS)
    try_seeds(lambda seed, schedule, tracing: spool_run(subject(), seed, schedule, tracing), seeds, REPLAY)


@pytest.mark.timeout(3600 if FUZZ else 240)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_seed_in_asyncio(part: int) -> None:
    seeds = [int(SEED)] if SEED is not None else range(part, SEEDS // 2, PARTS)
    try_seeds(lambda seed, schedule, tracing: asyncio_run(subject(), seed, schedule, tracing), seeds, REPLAY)


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
