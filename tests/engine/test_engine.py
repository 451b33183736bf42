"""Engines: submitting, reading, walking, expiry and flushes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.storage import PATIENCE, wait_until, writer_held
from trio_spool.engine import (
    Concat,
    Delete,
    EngineClosedError,
    Flush,
    Get,
    Item,
    Problem,
    Snapshot,
    Store,
    Touch,
    open_engine,
)


def items_of(snapshot: Snapshot) -> Iterator[tuple[bytes, Item]]:
    return ((key, Item(*rest)) for key, *rest in snapshot.records())


def test_answers_come_in_one_wakeup(make) -> None:
    waking = threading.Event()
    calls = []

    def wake(function) -> None:
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("woken in another thread than the writer's")
        if not calls and engine.statistics().operations == 0:
            function()  # the one that holds the writer
        else:
            calls.append(function)
            waking.set()

    engine = make(wake=wake)
    answers = []
    with writer_held(engine):
        for number in range(10):
            engine.submit([Store(b"%d" % number, b"v")], answers.append)
    assert waking.wait(PATIENCE)
    assert answers == []
    for call in calls:
        call()
    assert len(answers) == 10
    assert engine.statistics().largest_group == 10
    assert len(calls) == 1


def test_a_wake_that_fails_does_not_stop_the_writer(make) -> None:
    def wake(function) -> None:
        raise RuntimeError("the loop has ended")

    engine = make(wake=wake)
    engine.submit([Store(b"k", b"v")], lambda outcomes: None)
    engine.close()


def test_close_carries_out_what_is_queued(make) -> None:
    engine = make()
    answers = []
    for number in range(100):
        engine.submit([Store(b"%d" % number, b"v")], answers.append)
    engine.close()
    assert len(answers) == 100
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.submit([Get(b"k")], answers.append)
    with pytest.raises(EngineClosedError):
        engine.snapshot()
    assert [thread.name for thread in threading.enumerate() if thread.name == "trio-spool-writer"] == []


def test_a_bug_fails_its_own_submission_alone(make) -> None:
    engine = make()
    answers = {}
    with writer_held(engine):
        engine.submit([Store(b"a", b"1")], lambda outcomes: answers.update(a=outcomes))
        engine.submit([Store(b"b", b"1"), object()], lambda outcomes: answers.update(b=outcomes))
        engine.submit([Store(b"c", b"1")], lambda outcomes: answers.update(c=outcomes))
    engine.close()
    assert answers["a"][0].problem is None
    assert [outcome.problem for outcome in answers["b"]] == [Problem.FAILED] * 2
    assert answers["c"][0].problem is None


def test_an_operation_that_is_none(make) -> None:
    from trio_spool.engine import apply

    with pytest.raises(TypeError):
        apply(Flush(), None)


def test_reader_sees_commits_after_release(make) -> None:
    engine = make()
    reader = engine.open_reader()
    assert reader.get(b"k") is None
    engine.execute([Store(b"k", b"v", 7, 0, 1)])
    reader.release()
    assert reader.get(b"k")[:4] == (b"v", 7, 0, 1)
    reader.release()
    reader.release()
    reader.close()


def test_get_many_stops_when_the_values_are_large(make, clock) -> None:
    engine = make(clock=clock)
    engine.execute([Store(b"%d" % n, b"x" * 100) for n in range(10)] + [Store(b"gone", b"x", expiry=1000)])
    reader = engine.open_reader()
    keys = [b"none", b"gone", *(b"%d" % n for n in range(10))]
    assert [item and len(item[0]) for item in reader.get_many(keys, 10_000)] == [None, None] + [100] * 10
    assert len(reader.get_many(keys, 250)) == 5
    assert len(reader.get_many(keys[2:], 0)) == 1
    assert len(reader.get_many(keys[2:], 199)) == 2
    assert len(reader.get_many(keys[2:], 200)) == 3  # two do not exceed it yet
    reader.release()
    engine.execute([Flush(1001)])
    clock.now = 1002.0
    assert reader.get_many(keys[2:4], 10_000) == [None, None]


def test_expired_items_are_not_returned_and_are_removed(make, clock) -> None:
    engine = make(clock=clock, expiry_interval=0.01)
    engine.execute(
        [Store(b"%d" % n, b"v", expiry=1010) for n in range(2500)] + [Store(b"stays", b"v"), Store(b"later", b"v", expiry=2000)]
    )
    engine.execute([Touch(b"1", 3000), Store(b"2", b"v"), Delete(b"3")])
    reader = engine.open_reader()
    assert reader.get(b"5") is not None
    reader.release()
    clock.now = 1010.0
    assert reader.get(b"5") is None
    assert engine.execute([Get(b"5"), Touch(b"5", 0)])[1].problem is Problem.NOT_FOUND
    wait_until(lambda: engine.statistics().expired == 2497)  # counted after the commit that removes the last of them
    assert engine.statistics().items == 4
    assert [key for key, _ in engine.entries()] == [b"1", b"2", b"later", b"stays"]


def test_delayed_flush(make, clock) -> None:
    engine = make(clock=clock, expiry_interval=3600)
    engine.execute([Store(b"before", b"v"), Flush(1005), Store(b"between", b"v")])
    reader = engine.open_reader()
    assert reader.get(b"before") is not None
    reader.release()
    clock.now = 1005.0
    assert reader.get(b"before") is None
    reader.release()
    assert list(engine.entries()) == []
    with engine.snapshot() as snapshot:
        assert list(items_of(snapshot)) == []
    engine.execute([Store(b"after", b"v")])
    assert [key for key, _ in engine.entries()] == [b"after"]


def test_flush_replaces_one_to_come(make, clock) -> None:
    engine = make(clock=clock, expiry_interval=3600)
    engine.execute([Flush(1005), Flush(), Store(b"k", b"v")])
    clock.now = 1010.0
    assert [key for key, _ in engine.entries()] == [b"k"]


def test_concat_limit(make) -> None:
    engine = make()
    outcomes = engine.execute([Store(b"k", b"12345"), Concat(b"k", b"67", max_size=6), Concat(b"k", b"6", max_size=6)])
    assert [outcome.problem for outcome in outcomes] == [None, Problem.NOT_STORED, None]


def test_large_groups_are_split(make) -> None:
    engine = make()
    with writer_held(engine):
        for _ in range(5):
            engine.submit([Store(b"k", b"x" * 15_000_000)], lambda outcomes: None)
    engine.execute([Get(b"k")])
    assert 1 <= engine.statistics().largest_group <= 4


def test_unknown_engine_and_policy(tmp_path) -> None:
    with pytest.raises(ValueError, match="papyrus"):
        open_engine("papyrus")
    with pytest.raises(ValueError, match="directory"):
        open_engine("lmdb")
    with pytest.raises(ValueError, match="sometimes"):
        open_engine("lmdb", tmp_path, fsync="sometimes")


def test_the_writers_time_is_counted(make) -> None:
    engine = make()
    engine.execute([Store(b"k", b"v")])
    engine.execute([Get(b"k")])  # the time of the first is known by now
    assert 0 < engine.writer_seconds < 60


def test_item_defaults() -> None:
    assert Item(b"v") == (b"v", 0, 0, 0, 0, 0, b"")


def test_statistics_after_close(make_lmdb) -> None:
    engine = make_lmdb()
    reader = engine.open_reader()
    walk = engine.entries()
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.statistics()
    with pytest.raises(EngineClosedError):
        reader.get(b"k")
    with pytest.raises(EngineClosedError):
        list(walk)


def test_a_walk_of_many_keys(make) -> None:
    engine = make()
    engine.execute([Store(b"%04d" % n, b"v") for n in range(2000)])
    assert [key for key, _ in engine.entries()] == [b"%04d" % n for n in range(2000)]
    assert [key for key, _ in engine.entries(b"1990")] == [b"%04d" % n for n in range(1990, 2000)]
    assert list(engine.entries(b"2")) == []
    with engine.snapshot() as snapshot:
        assert snapshot.count == 2000
