"""A disk that fails at random: after each fault, a store has what was acknowledged, and nothing that was refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.disk_faults import build, run_failing_engine
from support.soaking import scaled

ROUNDS = scaled(60, 300)  # commits of one engine, in each of which some calls fail
RUNS = scaled(1, 20)


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
@pytest.mark.timeout(scaled(120, 3600))
def test_faults_at_random(tmp_path: Path, fsync: str) -> None:
    library = build(tmp_path)
    said = {"acknowledged": 0, "refused": 0, "unknown": 0, "failed": 0}
    for number in range(RUNS):
        seed = scaled(1, random.randrange(1 << 32))
        print(f"seed {seed}")
        directory = tmp_path / str(number)
        directory.mkdir()
        for name, count in run_failing_engine(library, directory, "at random", fsync, str(seed), str(ROUNDS)).items():
            said[name] += count
    print(said)
    assert said["acknowledged"] + said["refused"] + said["unknown"] == RUNS * ROUNDS
    assert said["acknowledged"] > 5 and said["refused"] > 20 and said["failed"] > 0
