"""The simulation itself, with faults that everybody knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("greenlet", reason="the simulation's threads are greenlets")

from support.simulation.baton import Baton, RandomSchedule, Schedule, Stuck, rule
from support.simulation.exploring import Failed, explore, shorten
from support.simulation.stand_ins import Lock

Program = Callable[[Baton], Callable[[], None]]


def add_twice(baton: Baton, lock: Lock | None = None) -> Callable[[], None]:
    """Two threads add one to a number, which takes each of them two steps."""
    number = 0

    def add() -> None:
        nonlocal number
        baton.switch("read")
        value = number
        baton.switch("write")
        number = value + 1

    def add_with_lock() -> None:
        assert lock is not None
        with lock:
            add()

    for name in ("a", "b"):
        baton.spawn(name, name, add if lock is None else add_with_lock)

    def check() -> None:
        assert number == 2

    return check


def sleep_and_wake(baton: Baton, *, looks_again: bool) -> Callable[[], None]:
    """One thread sleeps until there is an item; the other adds one, and wakes it if it sleeps."""
    items: list[int] = []
    waiting = woken = False

    def take() -> None:
        nonlocal waiting
        baton.switch("look")
        if not items:
            baton.switch("begin to wait")
            waiting = True
            baton.switch("look again")
            if not (looks_again and items):
                baton.wait(lambda: woken, "asleep")
        assert items

    def put() -> None:
        nonlocal woken
        baton.switch("put")
        items.append(1)
        baton.switch("wake")
        if waiting:
            woken = True

    baton.spawn("take", "take", take)
    baton.spawn("put", "put", put)
    return lambda: None


def run(program: Program, schedule: Schedule) -> Baton:
    baton = Baton(schedule, tracing=True, recording=True)
    with rule(baton):
        check = program(baton)
        try:
            baton.run()
        finally:
            baton.abandon()
    check()
    return baton


def test_a_lost_update_is_found() -> None:
    with pytest.raises(Failed):
        explore(lambda schedule: run(add_twice, schedule))


def test_a_lock_prevents_it() -> None:
    runs, _ = explore(lambda schedule: run(lambda baton: add_twice(baton, Lock()), schedule))
    assert runs > 2


def test_a_lost_wake_up_is_found_and_replayed() -> None:
    def program(baton: Baton) -> Callable[[], None]:
        return sleep_and_wake(baton, looks_again=False)

    with pytest.raises(Failed) as failed:
        explore(lambda schedule: run(program, schedule))
    for _ in range(2):
        with pytest.raises(Stuck, match="every strand waits: take at asleep"):
            run(program, Schedule(failed.value.decisions))


def test_looking_again_prevents_it() -> None:
    explore(lambda schedule: run(lambda baton: sleep_and_wake(baton, looks_again=True), schedule))


def fails(schedule: Schedule) -> bool:
    try:
        run(add_twice, schedule)
    except AssertionError:
        return True
    return False


def test_a_seed_replays_and_is_shortened() -> None:
    seed = next(seed for seed in range(1000) if fails(RandomSchedule(seed)))
    schedule = RandomSchedule(seed)
    assert fails(schedule)
    assert fails(Schedule(schedule.taken))
    shortest = shorten(lambda decisions: fails(Schedule(decisions)), schedule.taken)
    assert 1 <= len(shortest) <= 2
    assert fails(Schedule(shortest))


def test_the_same_seed_gives_the_same_run() -> None:
    def trace(seed: int) -> list[str]:
        return run(lambda baton: sleep_and_wake(baton, looks_again=True), RandomSchedule(seed)).trace

    assert trace(3) == trace(3)
    assert len({tuple(trace(seed)) for seed in range(50)}) > 5


def test_strands_that_do_not_end_are_stopped() -> None:
    def program(baton: Baton) -> Callable[[], None]:
        def spin() -> None:
            while True:
                baton.switch("spin")

        baton.spawn("spin", "spin", spin)
        return lambda: None

    with pytest.raises(Stuck, match="not at an end"):
        run(program, RandomSchedule(0))
