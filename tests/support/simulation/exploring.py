"""Trying many schedules: all interleavings of a small scenario, or those of many seeds; and shortening one that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from .baton import Baton, RandomSchedule, Schedule, Strand


class Exhaustive(Schedule):
    """Takes the decisions of a prefix, and puts every other decision after it on a list, unless its state was met before.

    Args:
        prefix: The decisions to take first.
        met: Hashes of the states that were met; shared by all schedules of one exploration.
        todo: The prefixes that remain to be tried; shared likewise.
    """

    def __init__(self, prefix: dict[int, int], met: dict[int, int], todo: list[dict[int, int]], bound: float) -> None:
        super().__init__(prefix)
        self._bound = bound
        self.due = 0
        self._last = max(prefix, default=-1)
        self._met = met
        self._todo = todo

    def choose(self, baton: Baton, options: list[Strand]) -> Strand:
        number = 0
        if baton.step <= self._last:
            number = self._decisions.get(baton.step, 0)
        elif self._todo_all and len(self.taken) < self._bound:
            state = baton.state()
            if self._met.get(state, self._bound + 1) <= len(self.taken):
                self._todo_all = False
            else:
                self._met[state] = len(self.taken)
                self._todo.extend({**self.taken, baton.step: other} for other in range(1, len(options)))
        return self.take(baton, options, number)

    _todo_all = True


def explore(run: Callable[[Schedule], object], bound: float = 1e9, most: int = 10**9) -> tuple[int, int]:
    """Run every interleaving, except where two lead to the same state.

    Args:
        run: Runs the scenario under a schedule, and raises if it fails.
        most: The maximum number of runs.

    Returns:
        The numbers of runs and of states.

    Raises:
        Failed: A run failed.
    """
    met: dict[int, int] = {}
    todo: list[dict[int, int]] = [{}]
    runs = 0
    while todo and runs < most:
        schedule = Exhaustive(todo.pop(), met, todo, bound)
        runs += 1
        try:
            run(schedule)
        except Exception as exc:
            raise Failed(schedule.taken, runs) from exc
    return runs, len(met)


class Failed(AssertionError):
    """A run failed.

    Attributes:
        decisions: What replays it, in a `Schedule`.
        runs: The number of runs that it took to find it.
    """

    def __init__(self, decisions: dict[int, int], runs: int) -> None:
        super().__init__(f"run {runs} failed with the decisions {decisions}")
        self.decisions = decisions
        self.runs = runs


def shorten(fails: Callable[[dict[int, int]], bool], decisions: dict[int, int]) -> dict[int, int]:
    """Leave out decisions that a failure does not need."""
    shorter = dict(sorted(decisions.items()))
    for step in reversed(list(shorter)):
        trial = {other: number for other, number in shorter.items() if other != step}
        if fails(trial):
            shorter = trial
    fails(shorter)
    return shorter


class Simulated(Protocol):
    """One run of something under a schedule."""

    baton: Baton

    def check(self) -> None:
        """Run it, and check what must be true in the end."""


def try_seeds(make: Callable[[int, Schedule, bool], Simulated], seeds: Iterable[int], replay: str) -> None:
    """Run each seed. If one fails, shorten its schedule, and say how to replay it.

    Args:
        make: Makes the run of a seed under a schedule, with tracing or without.
        seeds: The seeds.
        replay: What to say about replaying the seed: a text in which ``{seed}`` stands for it.

    Raises:
        AssertionError: A seed failed.
    """
    for seed in seeds:
        schedule = RandomSchedule(seed)
        try:
            make(seed, schedule, False).check()
        except Exception as exc:
            trace = "\n".join(_shortest_trace(make, seed, schedule.taken))
            raise AssertionError(
                f"seed {seed}: {exc!r}\n{replay.format(seed=seed)}\nThe shortest schedule that fails:\n{trace}"
            ) from exc


def _shortest_trace(make: Callable[[int, Schedule, bool], Simulated], seed: int, decisions: dict[int, int]) -> list[str]:
    def fails(trial: dict[int, int]) -> bool:
        nonlocal trace
        run = make(seed, Schedule(trial), True)
        try:
            run.check()
        except Exception:
            trace = run.baton.trace
            return True
        return False

    trace = ["(it does not fail again)"]
    if fails(decisions):
        shorten(fails, decisions)
    return trace
