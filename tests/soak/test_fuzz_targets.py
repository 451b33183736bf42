"""What fuzzers feed, with examples and what they become when they are changed a little."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.fuzz_targets import TARGETS, mutated
from support.soaking import LONG, scaled

MUTANTS = scaled(500, 20_000)
ATHERIS_SECONDS = 300


@pytest.mark.timeout(scaled(120, 1200))
@pytest.mark.parametrize("name", TARGETS)
def test_examples_and_mutants(name: str) -> None:
    feed, examples = TARGETS[name]
    chance = random.Random(name)
    for data in examples:
        feed(data)
    for _ in range(MUTANTS):
        data = mutated(chance, examples)
        try:
            feed(data)
        except Exception as exc:
            raise AssertionError(f"{name} failed with {data!r}") from exc


@pytest.mark.skipif(not LONG, reason="the long session runs it")
@pytest.mark.timeout(ATHERIS_SECONDS + 300)
@pytest.mark.parametrize("name", TARGETS)
def test_what_atheris_finds(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="there is no atheris for this Python")
    program = Path(__file__).with_name("run_atheris.py")
    command = [sys.executable, program, name, tmp_path, f"-max_total_time={ATHERIS_SECONDS}", "-max_len=4096"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-5000:]
