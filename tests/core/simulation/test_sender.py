"""A sender, its tasks and its producers, with every step chosen."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("greenlet", reason="the simulation's threads are greenlets")

from support.simulation.exploring import try_seeds
from support.simulation.subjects import FUZZ, sender_run, subject

# In CI, as many as take some 10 seconds: 3 to 4 ms each.
SEEDS = 100_000 if FUZZ else 3_000
PARTS = 4
REPLAY = "Replay it with: SIMULATION_SEED={seed} pytest tests/core/simulation/test_sender.py"
SEED = os.environ.get("SIMULATION_SEED")


@pytest.mark.timeout(3600 if FUZZ else 240)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_seed(part: int) -> None:
    seeds = [int(SEED)] if SEED is not None else range(part, SEEDS, PARTS)
    try_seeds(lambda seed, schedule, tracing: sender_run(subject(), seed, schedule, tracing), seeds, REPLAY)
