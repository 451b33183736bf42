"""What is remembered beside the items."""

from __future__ import annotations

from trio_spool.engine import Flush, Get, Outcome, Problem, Remember, Remove, Store


def test_recall(engine) -> None:
    assert engine.recall(b"name") is None
    assert (
        engine.execute([Remember(b"name", b"value"), Remember(b"", b""), Remember(b"other", bytes(range(256)) * 100)])
        == [Outcome()] * 3
    )
    assert engine.recall(b"name") == b"value"
    assert engine.recall(b"") == b""
    assert engine.recall(b"other") == bytes(range(256)) * 100
    assert engine.recall(b"nam") is None


def test_the_last_one_counts(engine) -> None:
    engine.execute([Remember(b"name", b"1"), Remember(b"name", b"2")])
    assert engine.recall(b"name") == b"2"
    engine.execute([Remember(b"name", b"3")])
    assert engine.recall(b"name") == b"3"


def test_it_is_no_item(engine) -> None:
    engine.execute([Store(b"name", b"item"), Remember(b"name", b"value")])
    assert engine.open_reader().get(b"name").value == b"item"
    assert [key for key, _ in engine.entries()] == [b"name"]
    assert engine.seqno == 1
    assert engine.spaces == {b"n": (1, 8)}


def test_flush_and_remove_leave_it_alone(engine, clock) -> None:
    engine.execute([Remember(b"name", b"value"), Flush(), Remove(b"")])
    assert engine.recall(b"name") == b"value"
    engine.execute([Flush(clock.now + 1000)])
    clock.now += 1000
    engine.execute([Get(b"k")])
    assert engine.recall(b"name") == b"value"


def test_a_transaction_that_is_aborted_leaves_it_alone(engine) -> None:
    engine.execute([Remember(b"name", b"before")])
    outcomes = engine.execute([Remember(b"name", b"after"), Remember(b"new", b"v"), object()])
    assert outcomes[0].problem is Problem.FAILED
    assert engine.recall(b"name") == b"before"
    assert engine.recall(b"new") is None


def test_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    engine.execute([Store(b"k", b"v"), Remember(b"name", b"1"), Remember(b"", b"")])
    engine.execute([Remember(b"name", b"2"), Remember(b"state", b"3"), Remember(b"space:k", b"4")])
    engine.execute([Remember(b"name", b"lost"), object()])
    engine.execute([Flush()])
    spaces = engine.spaces
    engine.close()
    engine = make_lmdb(**options)
    assert [engine.recall(name) for name in (b"name", b"", b"state", b"space:k")] == [b"2", b"", b"3", b"4"]
    assert engine.spaces == spaces
    assert engine.seqno == 2
