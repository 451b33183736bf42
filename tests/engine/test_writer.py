"""The writer thread over a store that fails when a test says so."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from support.storage import PATIENCE, FaultyStorage, wait_until
from trio_spool.engine import EngineClosedError, EngineOptions, Flush, Get, Lock, NoSpaceError, Problem, Remember, Store, Unlock
from trio_spool.engine._submissions import GROUP_BYTES, GROUP_OPERATIONS
from trio_spool.engine._work import EXPIRY_BATCH
from trio_spool.engine._writer import Writer
from trio_spool.engine.memory._storage import MemoryStorage


class Full(LookupError):
    """What `FaultyStorage` mends."""


@pytest.fixture
def memory():
    return MemoryStorage()


@pytest.fixture
def storage(memory, faults):
    return FaultyStorage(memory, faults)


@pytest.fixture
def make_writer(storage, options):
    writers = []

    def make(*, chores=(), start=True, **changes):
        writer = Writer(storage, EngineOptions(**{**options, **changes}), chores=chores)
        writers.append(writer)
        if start:
            writer.start()
        return writer

    yield make
    for writer in writers:
        writer.close()
    assert storage.open == 0


@pytest.fixture
def writer(make_writer):
    return make_writer()


def execute(writer, *operations):
    answered = threading.Event()
    outcomes = []
    writer.submit(operations, lambda answer: (outcomes.extend(answer), answered.set()))
    assert answered.wait(PATIENCE), "nobody answered"
    return outcomes


def problems(outcomes):
    return [outcome.problem for outcome in outcomes]


# Groups


def test_what_was_submitted_before_is_one_group(make_writer, storage) -> None:
    writer = make_writer(start=False)
    for number in range(5):
        writer.submit([Store(b"%d" % number, b"12345"), Get(b"0")], lambda outcomes: None)
    statistics = writer.statistics()
    assert (statistics.queued, statistics.queued_bytes, statistics.commits) == (5, 25, 0)
    writer.start()
    writer.close()
    statistics = writer.statistics()
    assert (statistics.queued, statistics.queued_bytes) == (0, 0)
    assert (statistics.commits, statistics.operations, statistics.largest_group) == (1, 10, 10)
    assert writer.cpu_seconds > 0


@pytest.mark.parametrize(("operations", "groups"), [(GROUP_OPERATIONS - 1, 1), (GROUP_OPERATIONS, 2)])
def test_groups_are_bounded_in_operations(make_writer, operations: int, groups: int) -> None:
    writer = make_writer(start=False)
    for number in (operations, 1):
        writer.submit([Store(b"k", b"")] * number, lambda outcomes: None)
    writer.start()
    writer.close()
    assert writer.statistics().commits == groups


@pytest.mark.parametrize(("size", "groups"), [(GROUP_BYTES - 1, 1), (GROUP_BYTES, 2)])
def test_groups_are_bounded_in_bytes(make_writer, size: int, groups: int) -> None:
    writer = make_writer(start=False)
    for value in (bytes(size), b"v"):
        writer.submit([Store(b"k", value)], lambda outcomes: None)
    writer.start()
    writer.close()
    assert writer.statistics().commits == groups


def test_reading_alone_commits_nothing(writer, faults) -> None:
    execute(writer, Get(b"k"))
    execute(writer, Unlock(b"k", 1))
    assert "commit" not in faults.calls
    assert writer.statistics().commits == 0
    assert writer.statistics().operations == 2


def test_close_is_final(writer) -> None:
    execute(writer, Store(b"k", b"v"))
    writer.close()
    writer.close()
    with pytest.raises(EngineClosedError):
        writer.submit([], lambda outcomes: None)


def test_closing_from_the_thread_itself(make_writer) -> None:
    writer = make_writer()
    answered = threading.Event()
    writer.submit([Store(b"k", b"v")], lambda outcomes: (writer.close(), answered.set()))
    assert answered.wait(PATIENCE)
    writer.close()


# What fails


@pytest.mark.parametrize(("error", "problem"), [(RuntimeError("bug"), Problem.FAILED), (NoSpaceError("full"), Problem.NO_SPACE)])
@pytest.mark.parametrize("point", ["begin", "get"])
def test_one_submission_fails_alone(make_writer, memory, faults, error, problem, point: str) -> None:
    writer = make_writer(start=False)
    faults.add(point, error)
    answers = {}
    for key in (b"a", b"b", b"c"):
        writer.submit([Store(key, b"v"), Get(key)], lambda outcomes, key=key: answers.update({key: problems(outcomes)}))
    writer.start()
    writer.close()
    assert answers == {b"a": [problem] * 2, b"b": [None] * 2, b"c": [None] * 2}
    assert sorted(memory.items) == [b"b", b"c"]
    statistics = writer.statistics()
    assert (statistics.operations, statistics.commits, statistics.largest_group) == (4, 1, 4)


@pytest.mark.parametrize(("error", "problem"), [(RuntimeError("bug"), Problem.FAILED), (NoSpaceError("full"), Problem.NO_SPACE)])
def test_a_commit_fails_for_all(make_writer, memory, faults, error, problem) -> None:
    writer = make_writer(start=False)
    before = writer.shared
    faults.add("commit", error)
    answers = []
    for key in (b"a", b"b", b"c"):
        writer.submit([Store(key, b"v"), Lock(key, 10), Remember(key, b"v")], lambda outcomes: answers.append(problems(outcomes)))
    writer.start()
    wait_until(lambda: len(answers) == 3)
    assert answers == [[problem] * 3] * 3
    assert memory.items == {}
    assert writer.shared is before
    assert problems(execute(writer, Store(b"a", b"v"))) == [None]
    assert writer.shared.state.seqno == 1


@pytest.mark.parametrize("point", ["begin", "get", "commit"])
@pytest.mark.parametrize("times", [1, 3])
def test_what_can_be_mended_is_done_again(writer, storage, faults, point: str, times: int) -> None:
    faults.add(point, *[Full()] * times)
    stored, found = execute(writer, Store(b"k", b"v"), Get(b"k"))
    assert (stored.problem, found.item.value) == (None, b"v")
    assert len(storage.mended) == times
    assert writer.shared.state.seqno == 1
    assert writer.shared.spaces == {b"k": (1, 2)}


@pytest.mark.parametrize(("error", "problem"), [(RuntimeError("bug"), Problem.FAILED), (NoSpaceError("full"), Problem.NO_SPACE)])
def test_mending_that_fails_does_not_end_the_thread(writer, faults, error, problem) -> None:
    faults.add("commit", Full())
    faults.add("recover", error)
    assert problems(execute(writer, Store(b"k", b"v"))) == [problem]
    assert problems(execute(writer, Store(b"k", b"v"))) == [None]


def test_errors_below_are_mapped(writer, storage, faults) -> None:
    @contextmanager
    def map_errors():
        try:
            yield
        except OSError as error:
            raise NoSpaceError("mapped") from error

    storage.map = map_errors
    for point in ("begin", "get", "commit"):
        faults.add(point, OSError("full"))
        assert problems(execute(writer, Store(b"k", b"v"))) == [Problem.NO_SPACE]
    faults.add("get", Full())
    faults.add("recover", OSError("full"))
    assert problems(execute(writer, Store(b"k", b"v"))) == [Problem.NO_SPACE]


def test_nobody_reads_the_cas_of_a_lock_before_it_holds(writer, faults) -> None:
    execute(writer, Store(b"k", b"v"), Store(b"other", b"v"), Lock(b"other", 10))
    seen = []
    for point in ("commit", "committed"):
        faults.hooks[point] = lambda: seen.append((writer.is_locked(b"k"), writer.is_locked(b"other")))
    execute(writer, Lock(b"k", 10))
    assert seen == [(True, True)] * 2


def test_a_lock_that_ends_holds_until_the_commit(writer, faults) -> None:
    _, locked = execute(writer, Store(b"k", b"v"), Lock(b"k", 10))
    seen = []
    for point in ("commit", "committed"):
        faults.hooks[point] = lambda: seen.append(writer.is_locked(b"k"))
    execute(writer, Store(b"k", b"w", cas=locked.cas))
    assert seen == [True, True]
    assert not writer.is_locked(b"k")


# Beside the operations


def test_chores_are_done_after_each_group(make_writer) -> None:
    done = []
    writer = make_writer(chores=[lambda: done.append("a"), lambda: done.append("b")])
    for number in range(1, 4):
        execute(writer, Get(b"k"))
        wait_until(lambda number=number: len(done) == 2 * number)
    assert done == ["a", "b"] * 3


def test_chores_are_done_while_nothing_is_submitted(make_writer) -> None:
    done = threading.Event()
    make_writer(chores=[done.set], expiry_interval=0.001)
    assert done.wait(PATIENCE)


def test_expired_items_are_removed_while_nothing_is_submitted(make_writer, memory, clock) -> None:
    writer = make_writer(expiry_interval=0.001)
    execute(writer, *(Store(b"%d" % number, b"v", expiry=1005) for number in range(2 * EXPIRY_BATCH + 1)))
    clock.now = 1005
    wait_until(lambda: not memory.items)
    wait_until(lambda: writer.statistics().expired == 2 * EXPIRY_BATCH + 1)


@pytest.mark.parametrize(("items", "more"), [(EXPIRY_BATCH - 1, False), (EXPIRY_BATCH, True), (EXPIRY_BATCH + 1, True)])
def test_expired_items_are_removed_in_batches(writer, memory, clock, items: int, more: bool) -> None:
    execute(writer, *(Store(b"%d" % number, b"v", expiry=1005) for number in range(items)), Store(b"stays", b"v"))
    clock.now = 1004.9
    assert writer.remove_expired() is False
    assert len(memory.items) == items + 1
    clock.now = 1005
    assert writer.remove_expired() is more
    assert len(memory.items) == items + 1 - min(items, EXPIRY_BATCH)
    while writer.remove_expired():
        pass
    assert list(memory.items) == [b"stays"]
    assert writer.statistics().expired == items


@pytest.mark.parametrize("point", ["expired", "begin", "commit"])
def test_removing_expired_items_that_fails_is_tried_again(writer, storage, memory, clock, faults, point: str) -> None:
    execute(writer, Store(b"k", b"v", expiry=1005))
    clock.now = 1005
    faults.add(point, Full())
    assert writer.remove_expired() is False
    assert (len(storage.mended), memory.items, writer.statistics().expired) == (1, {}, 1)


@pytest.mark.parametrize("point", ["expired", "begin", "commit"])
def test_removing_expired_items_that_fails_for_good(writer, memory, clock, faults, point: str) -> None:
    execute(writer, Store(b"k", b"v", expiry=1005))
    clock.now = 1005
    faults.add(point, RuntimeError("bug"))
    assert writer.remove_expired() is False
    assert writer.statistics().expired == 0
    assert list(memory.items) == [b"k"]
    assert writer.remove_expired() is False
    assert memory.items == {}


def test_a_delayed_flush_needs_no_submission(make_writer, memory, clock) -> None:
    """Nor does it wait for the next search for expired items."""
    writer = make_writer(expiry_interval=3600)
    execute(writer, Store(b"k", b"v"), Flush(1000.01))
    assert not writer.flushed(1000.0)
    assert writer.flushed(1000.01)
    clock.now = 1000.01
    wait_until(lambda: not memory.items)
    wait_until(lambda: writer.shared.state.flush_at == 0)
    assert not writer.flushed(1000.01)
    assert problems(execute(writer, Store(b"k", b"v"))) == [None]
    assert list(memory.items) == [b"k"]
