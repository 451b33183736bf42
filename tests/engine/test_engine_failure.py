"""An engine that has failed for good: everybody who waits is told, and so is whoever comes later."""

from __future__ import annotations

import threading

import pytest

from support.storage import PATIENCE, FaultyStorage, wait_until
from trio_spool.engine import (
    EngineClosedError,
    EngineFailedError,
    EngineOptions,
    Get,
    LostStoreError,
    NoSpaceError,
    Problem,
    StorageError,
    Store,
)
from trio_spool.engine._batch import Batch
from trio_spool.engine._errors import DamagedError, DeviceError, RefusedError
from trio_spool.engine._single_writer import SingleWriterEngine
from trio_spool.engine._writer import MAX_FAILURES
from trio_spool.engine.memory import MemoryEngine
from trio_spool.engine.memory._storage import MemoryStorage


class FaultyEngine(MemoryEngine):
    """An engine in memory that fails when a test says so."""

    def __init__(self, options, faults, checks=(), chores=()) -> None:
        self.storage = MemoryStorage()
        SingleWriterEngine.__init__(self, FaultyStorage(self.storage, faults), options, checks, chores)
        self.writer.start()


@pytest.fixture
def failures():
    """What the owner of the engine is told."""
    return []


@pytest.fixture
def open_faulty(faults, options, failures):
    engines = []

    def open_one(checks=(), chores=(), **changes):
        engines.append(FaultyEngine(EngineOptions(**{**options, "failed": failures.append, **changes}), faults, checks, chores))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()
        assert not engine.writer._thread.is_alive()


def submit(engine, *keys: bytes) -> list[Problem | None]:
    """Submit a store of each key, one by one, and return a list of their problems, which fills up."""
    problems: list[Problem | None] = []
    for key in keys:
        engine.submit([Store(key, b"v")], lambda outcomes: problems.extend(outcome.problem for outcome in outcomes))
    return problems


ESCAPING = [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), LostStoreError("the files are gone")]


@pytest.mark.parametrize("error", ESCAPING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("point", ["begin", "get", "commit"])
def test_who_waits_is_told(open_faulty, faults, failures, error: BaseException, point: str) -> None:
    """The first group may be committed, as far as anybody knows. The others certainly are not."""
    engine = open_faulty()
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    faults.hooks[point] = hold
    faults.add(point, error)
    problems = submit(engine, b"a")
    assert reached.wait(PATIENCE)
    problems_of_others = submit(engine, b"b", b"c", b"d")
    go_on.set()
    wait_until(lambda: len(problems_of_others) == 3)
    assert (problems, problems_of_others) == ([Problem.UNKNOWN], [Problem.FAILED] * 3)
    assert failures == [engine.failure]
    assert engine.failure.__cause__ is error
    with pytest.raises(EngineFailedError) as caught:
        engine.submit([Get(b"a")], lambda outcomes: None)
    assert str(caught.value) == str(engine.failure)
    with pytest.raises(EngineFailedError):
        engine.snapshot()
    assert engine.storage.items == {}


@pytest.mark.parametrize("kind", ["checks", "chores"])
def test_what_is_done_beside_the_groups_ends_it_as_well(open_faulty, faults, failures, kind: str) -> None:
    broken = threading.Event()

    def chore() -> None:
        if broken.is_set():
            raise LostStoreError("the files are gone")

    engine = open_faulty(**{kind: [chore]}, expiry_interval=0.001)
    assert engine.execute([Store(b"k", b"v")])[0].problem is None
    broken.set()
    wait_until(lambda: failures)
    assert str(failures[0]) == "the files are gone"
    assert engine.open_reader().get(b"k").value == b"v"
    assert engine.statistics().items == 1


def test_nobody_is_told_of_a_commit_after_which_a_check_fails(open_faulty, failures) -> None:
    def check() -> None:
        if engine.storage.items:
            raise LostStoreError("the files are gone")

    engine = open_faulty(checks=[check])
    problems = submit(engine, b"k")
    wait_until(lambda: failures)
    assert problems == [Problem.UNKNOWN]


def test_no_memory_is_no_room(open_faulty, faults) -> None:
    engine = open_faulty()
    for point in ("begin", "get", "commit"):
        faults.add(point, MemoryError())
        assert engine.execute([Store(b"k", b"v")])[0].problem is Problem.NO_SPACE
    assert engine.execute([Store(b"k", b"v")])[0].problem is None


def test_nothing_fails_behind_a_commit(open_faulty, monkeypatch) -> None:
    """What is refused is not there: so all that takes memory is made before."""
    engine = open_faulty()
    shared = Batch.shared
    with monkeypatch.context() as patching:
        patching.setattr(Batch, "shared", lambda *arguments: [bytes(1 << 60), shared(*arguments)][1])
        assert engine.execute([Store(b"k", b"v")])[0].problem is Problem.NO_SPACE
    assert engine.storage.items == {}
    assert engine.execute([Store(b"k", b"v")])[0].seqno == 1


def test_no_memory_to_answer_with(open_faulty, faults, failures) -> None:
    def wake(function) -> None:
        raise MemoryError

    engine = open_faulty(wake=wake)
    submit(engine, b"k")
    wait_until(lambda: failures)
    assert isinstance(engine.failure.__cause__, MemoryError)


def test_who_executes_gets_the_error(open_faulty, faults) -> None:
    engine = open_faulty()
    faults.add("commit", LostStoreError("the files are gone"))
    for _ in range(2):
        with pytest.raises(EngineFailedError, match=r"^the files are gone$") as caught:
            engine.execute([Store(b"k", b"v")])
        assert isinstance(caught.value.__cause__, LostStoreError)
    assert caught.value is not engine.failure
    engine.close()
    with pytest.raises(EngineFailedError):
        engine.execute([Store(b"k", b"v")])


def test_closing_is_no_failure(open_faulty, failures) -> None:
    engine = open_faulty()
    engine.close()
    assert engine.failure is None
    with pytest.raises(EngineClosedError):
        engine.execute([Store(b"k", b"v")])
    assert failures == []


def test_what_nobody_has_thought_of_is_logged_once_with_its_traceback(open_faulty, faults, failures, caplog) -> None:
    faults.add("begin", SystemExit("odd"))
    engine = open_faulty()
    submit(engine, b"k")
    wait_until(lambda: failures)
    assert str(engine.failure) == "writing failed: SystemExit: odd"
    (record,) = caplog.records
    assert record.exc_info is not None
    engine.close()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("owner", [None, lambda failure: 1 / 0])
def test_without_an_owner_the_log_is_told(open_faulty, faults, caplog, owner) -> None:
    engine = open_faulty(failed=owner)
    faults.add("begin", LostStoreError("the files are gone"))
    submit(engine, b"k")
    wait_until(lambda: caplog.records)
    assert "the files are gone" in caplog.records[-1].getMessage()


def test_nobody_is_left_to_be_told(open_faulty, faults, failures) -> None:
    """As when the event loop has ended. The owner is told all the same."""

    def wake(function) -> None:
        raise RuntimeError("the loop has ended")

    engine = open_faulty(wake=wake)
    faults.add("begin", LostStoreError("the files are gone"))
    submit(engine, b"k")
    wait_until(lambda: failures)
    assert engine.failure is failures[0]


def test_an_answer_that_is_not_taken_does_not_keep_the_others_from_theirs(open_faulty, faults, caplog) -> None:
    engine = open_faulty()
    answers = []
    reached, go_on = threading.Event(), threading.Event()
    engine.submit([], lambda outcomes: (reached.set(), go_on.wait(PATIENCE)))
    assert reached.wait(PATIENCE)
    for number in range(4):
        engine.submit([Store(b"k", b"v")], lambda outcomes, number=number: answers.append(1 / (number % 2)))
    go_on.set()
    wait_until(lambda: len(answers) == 2)
    assert engine.execute([Store(b"k", b"v")])[0].problem is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# A disk that fails


@pytest.mark.parametrize(
    ("point", "error", "problem"),
    [
        ("commit", DeviceError("it failed"), Problem.NO_SPACE),
        ("begin", DeviceError("it failed"), Problem.NO_SPACE),
        ("commit", RefusedError("it failed"), Problem.FAILED),
        ("get", RefusedError("it failed"), Problem.FAILED),
        ("commit", StorageError("it failed"), Problem.FAILED),
        ("commit", DamagedError("it failed"), Problem.FAILED),
    ],
)
def test_a_store_that_fails_again_and_again(open_faulty, faults, point: str, error: Exception, problem: Problem) -> None:
    engine = open_faulty()
    faults.add(point, *[error] * MAX_FAILURES)
    for _ in range(MAX_FAILURES - 1):
        assert engine.execute([Store(b"k", b"v")])[0].problem is problem
    problems = submit(engine, b"k")
    wait_until(lambda: problems)
    assert problems == [Problem.FAILED]  # it is known that it did not take place
    assert str(engine.failure) == "it failed, 3 times in a row"


@pytest.mark.parametrize(
    ("point", "error"),
    [
        ("get", DamagedError("a damaged page")),
        ("get", RuntimeError("a bug")),
        ("commit", RuntimeError("a bug")),
        ("commit", NoSpaceError("full")),
    ],
)
def test_one_client_can_not_end_the_engine(open_faulty, faults, point: str, error: Exception) -> None:
    """By asking for what is damaged, or meets a bug, or does not fit."""
    engine = open_faulty()
    faults.add(point, *[error] * 10)
    for _ in range(10):
        assert engine.execute([Store(b"k", b"v")])[0].problem is not None
    assert engine.execute([Store(b"k", b"v")])[0].problem is None


def test_a_disk_that_fails_now_and_then(open_faulty, faults) -> None:
    engine = open_faulty()
    for _ in range(3):
        faults.add("commit", *[DeviceError("the disk failed")] * (MAX_FAILURES - 1))
        for _ in range(MAX_FAILURES - 1):
            assert engine.execute([Store(b"k", b"v")])[0].problem is Problem.NO_SPACE
        assert engine.execute([Get(b"k")])[0].problem in (None, Problem.NOT_FOUND)  # which proves nothing
        assert engine.execute([Store(b"k", b"v")])[0].problem is None
    assert engine.failure is None


def test_removing_expired_items_counts_as_well(open_faulty, faults, clock) -> None:
    engine = open_faulty(expiry_interval=0.001)
    engine.execute([Store(b"k", b"v", expiry=1005)])
    faults.add("expired", *[DeviceError("the disk failed")] * MAX_FAILURES)
    wait_until(lambda: engine.failure is not None)


@pytest.mark.parametrize("error", [NoSpaceError("the disk is full"), StorageError("the page is damaged"), RuntimeError("a bug")])
def test_what_fails_a_thousand_times_is_one_line(open_faulty, faults, caplog, error: Exception) -> None:
    engine = open_faulty()
    faults.add("get", *[error] * 1000)
    for _ in range(1000):
        assert engine.execute([Store(b"k", b"v")])[0].problem is not None
    assert engine.failure is None
    assert len(caplog.records) == 1
    assert str(error) in caplog.text
    assert bool(caplog.records[0].exc_info) is isinstance(error, RuntimeError)


def test_a_thread_that_the_system_does_not_give(faults, options, monkeypatch) -> None:
    def start(thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(EngineFailedError, match="can't be started: can't start new thread"):
        FaultyEngine(EngineOptions(**options), faults)
