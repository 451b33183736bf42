"""Spaces: how many items there are, and how large, of the keys that begin with the same letter."""

from __future__ import annotations

import lmdb
import pytest

from support.storage import writer_held
from trio_spool.engine import (
    Arithmetic,
    Concat,
    Delete,
    Edit,
    Flush,
    Get,
    Lock,
    Problem,
    Remember,
    Remove,
    Space,
    Step,
    StepKind,
    Store,
    Touch,
    split_extended,
)


def counted(engine) -> dict[bytes, Space]:
    """Count what can be read, for comparison: it must hold nothing that has expired."""
    spaces: dict[bytes, Space] = {}
    with engine.snapshot(xattrs=True) as snapshot:
        for key, value, _flags, _expiry, datatype, *_ in snapshot.records():
            xattrs, value = split_extended(value) if datatype & 0x80 else (b"", value)
            old = spaces.get(key[:1], Space())
            spaces[key[:1]] = Space(old.items + 1, old.bytes + len(key) + len(value) + len(xattrs))
    return spaces


def xattr(key: bytes, name: bytes, value: bytes) -> Edit:
    return Edit(key, (Step(StepKind.UPSERT, name, value, xattr=True),))


def test_nothing(engine) -> None:
    assert engine.spaces == {}


def test_every_kind_of_change(engine) -> None:
    for operation, expected in [
        (Store(b"a1", b"xyz"), {b"a": (1, 5)}),
        (Store(b"a22", b""), {b"a": (2, 8)}),
        (Store(b"b", b"12"), {b"a": (2, 8), b"b": (1, 3)}),
        (Store(b"a1", b"x"), {b"a": (2, 6), b"b": (1, 3)}),
        (Concat(b"a1", b"yy"), {b"a": (2, 8), b"b": (1, 3)}),
        (Arithmetic(b"b", 88), {b"a": (2, 8), b"b": (1, 4)}),
        (Arithmetic(b"c", 1, initial=55), {b"a": (2, 8), b"b": (1, 4), b"c": (1, 3)}),
        (xattr(b"b", b"x", b"1"), {b"a": (2, 8), b"b": (1, 4 + len(b'{"x":1}')), b"c": (1, 3)}),
        (Store(b"b", b""), {b"a": (2, 8), b"b": (1, 1 + len(b'{"x":1}')), b"c": (1, 3)}),
        (Touch(b"a1", 5000), {b"a": (2, 8), b"b": (1, 8), b"c": (1, 3)}),
        (Lock(b"a1", 10), {b"a": (2, 8), b"b": (1, 8), b"c": (1, 3)}),
        (Remember(b"a", b"xxx"), {b"a": (2, 8), b"b": (1, 8), b"c": (1, 3)}),
        (Delete(b"b"), {b"a": (2, 8), b"c": (1, 3)}),
        (Edit(b"c", (Step(StepKind.REMOVE_DOCUMENT),)), {b"a": (2, 8)}),
        (Edit(b"d", (Step(StepKind.UPSERT, b"k", b"1"),), create=True), {b"a": (2, 8), b"d": (1, 1 + len(b'{"k":1}'))}),
    ]:
        (outcome,) = engine.execute([operation])
        assert outcome.problem is None
        assert engine.spaces == expected, operation
        assert engine.spaces == counted(engine)


def test_what_was_not_carried_out_changes_nothing(engine) -> None:
    engine.execute([Store(b"a", b"v")])
    before = engine.spaces
    outcomes = engine.execute(
        [
            Delete(b"b"),
            Store(b"a", b"longer", cas=7),
            Arithmetic(b"a", 1),
            Concat(b"a", b"xx", max_size=2),
            Get(b"a"),
            xattr(b"b", b"x", b"1"),
        ]
    )
    assert None not in [outcome.problem for outcome in outcomes[:4]]
    assert engine.spaces is before


def test_several_operations_in_one_transaction(engine) -> None:
    engine.execute([Store(b"a", b"1"), Delete(b"a"), Store(b"b", b"1"), Delete(b"b"), Store(b"b", b"22")])
    assert engine.spaces == {b"b": (1, 3)}
    engine.execute([Delete(b"b"), Store(b"a", b"")])
    assert engine.spaces == {b"a": (1, 1)}


def test_what_was_returned_before_does_not_change(engine) -> None:
    engine.execute([Store(b"a", b"1")])
    before = engine.spaces
    engine.execute([Store(b"a", b"22"), Store(b"b", b"1")])
    assert before == {b"a": (1, 2)}


def test_without_a_function_there_is_one_space(make) -> None:
    engine = make()
    engine.execute([Store(b"a", b"1"), Store(b"b", b"22")])
    assert engine.spaces == {b"": (2, 5)}


# Flush


def test_flush(engine) -> None:
    engine.execute([Store(b"a", b"1"), Store(b"b", b"2")])
    engine.execute([Store(b"a2", b"1"), Flush(), Store(b"b", b"22")])
    assert engine.spaces == {b"b": (1, 3)} == counted(engine)
    engine.execute([Store(b"b2", b""), Flush()])
    assert engine.spaces == {}


def test_delayed_flush(engine, clock) -> None:
    engine.execute([Store(b"a", b"1"), Flush(clock.now + 1000)])
    assert engine.spaces == {b"a": (1, 2)}
    clock.now += 1000
    engine.execute([Store(b"b", b"1")])
    assert engine.spaces == {b"b": (1, 2)} == counted(engine)


# Expiry


def test_expired_items_are_counted_until_they_are_removed(engine, clock) -> None:
    engine.execute(
        [Store(b"a1", b"1", expiry=1005), Store(b"a2", b"2", expiry=1010), Store(b"b", b"3", expiry=1005), Store(b"c", b"")]
    )
    clock.now = 1005
    assert engine.spaces == {b"a": (2, 6), b"b": (1, 2), b"c": (1, 1)}
    assert engine.writer.remove_expired() is False
    assert engine.spaces == {b"a": (1, 3), b"c": (1, 1)} == counted(engine)
    assert engine.writer.remove_expired() is False
    assert engine.spaces == {b"a": (1, 3), b"c": (1, 1)}
    clock.now = 1010
    engine.writer.remove_expired()
    assert engine.spaces == {b"c": (1, 1)}
    assert engine.statistics().expired == 3


def test_an_expired_item_that_is_replaced_is_counted_once(engine, clock) -> None:
    engine.execute([xattr(b"a", b"x", b"1"), Store(b"a", b"long value", expiry=1005), xattr(b"a", b"x", b"1")])
    clock.now = 1005
    engine.execute([Store(b"a", b"v")])
    assert engine.spaces == {b"a": (1, 2)} == counted(engine)
    engine.writer.remove_expired()
    assert engine.spaces == {b"a": (1, 2)}


def test_an_expiry_that_was_set_twice_is_counted_once(engine, clock) -> None:
    """It was found twice by the search of the engine in memory, and its index grew with every change."""
    engine.execute([Store(b"a", b"1", expiry=1005), Store(b"a", b"2", expiry=1005), Touch(b"a", 1006), Touch(b"a", 1005)])
    for _ in range(100):
        engine.execute([Arithmetic(b"a", 1)])
    if engine.kind == "memory":
        assert len(engine.storage.by_expiry) < 10
    clock.now = 2000
    engine.writer.remove_expired()
    assert engine.spaces == {}
    assert engine.statistics().expired == 1


def test_an_expiry_that_returns_after_a_flush(engine, clock) -> None:
    engine.execute([Store(b"a", b"1", expiry=1005)])
    engine.execute([Flush(), Store(b"a", b"22", expiry=1005)])
    assert engine.spaces == {b"a": (1, 3)}
    clock.now = 1005
    engine.writer.remove_expired()
    assert engine.spaces == {}


# Transactions that fail


def test_a_transaction_that_is_aborted_changes_nothing(engine) -> None:
    engine.execute([Store(b"a", b"1"), Store(b"b", b"1")])
    before = engine.spaces
    outcomes = engine.execute([Store(b"a", b"22"), Store(b"c", b"1"), Remove(b"b"), Flush(), object()])
    assert {outcome.problem for outcome in outcomes} == {Problem.FAILED}
    assert engine.spaces is before
    assert before == {b"a": (1, 2), b"b": (1, 2)} == counted(engine)


def test_a_group_that_is_done_again_is_counted_once(engine) -> None:
    with writer_held(engine):
        engine.submit([Store(b"a", b"1")], lambda outcomes: None)
        engine.submit([Store(b"b", b"1"), object()], lambda outcomes: None)
        engine.submit([Store(b"c", b"1")], lambda outcomes: None)
    engine.execute([Get(b"a")])
    assert engine.spaces == {b"a": (1, 2), b"c": (1, 2)} == counted(engine)


def test_a_commit_that_fails_changes_nothing(make_faulty, options, faults) -> None:
    engine = make_faulty(**options)
    engine.execute([Store(b"a", b"1")])
    before = engine.spaces
    faults.add("commit", OSError("the disk is gone"))
    (outcome, _) = engine.execute([Delete(b"a"), Store(b"b", b"1")])
    assert outcome.problem is Problem.FAILED
    assert engine.spaces is before
    assert counted(engine) == before == {b"a": (1, 2)}
    assert engine.execute([Store(b"b", b"1")])[0].problem is None
    engine.close()
    assert make_faulty(**options).spaces == {b"a": (1, 2), b"b": (1, 2)}


# Restart


def test_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    engine.execute([Store(b"a1", b"1"), Store(b"b1", b"1", expiry=1005), xattr(b"a1", b"x", b"1"), Store(b"c", b"")])
    engine.execute([Delete(b"c"), Store(b"a2", b"")])
    before = engine.spaces
    assert before == {b"a": (2, 5 + len(b'{"x":1}')), b"b": (1, 3)}
    engine.close()
    engine = make_lmdb(**options)
    assert engine.spaces == before == counted(engine)
    options["clock"].now = 1005
    engine.writer.remove_expired()
    engine.execute([Store(b"a1", b"22")])
    after = engine.spaces
    assert b"b" not in after
    engine.close()
    engine = make_lmdb(**options)
    assert engine.spaces == after == counted(engine)
    engine.execute([Flush()])
    engine.close()
    assert make_lmdb(**options).spaces == {}


def test_many_spaces_and_the_map_grows(make_lmdb, clock) -> None:
    """A transaction that did not fit is done again."""
    engine = make_lmdb(clock=clock, space_of=lambda key: key, map_size=1 << 20)
    for number in range(30):
        engine.execute([Store(b"%d" % number, b"x" * 100_000), Remember(b"%d" % number, b"x" * 10_000)])
    assert engine.statistics().map_growths >= 2
    assert engine.spaces == {b"%d" % n: (1, 100_000 + len(str(n))) for n in range(30)}
    engine.close()
    again = make_lmdb(clock=clock, space_of=lambda key: key)
    assert again.spaces == engine.spaces
    assert {len(again.recall(b"%d" % n)) for n in range(30)} == {10_000}


@pytest.mark.parametrize("growths", [1, 3])
def test_the_map_is_full_at_the_commit(make_faulty, options, faults, growths: int) -> None:
    engine = make_faulty(**options)
    faults.add("commit", *[lmdb.MapFullError("full")] * growths)
    assert engine.execute([Store(b"a", b"1")])[0].problem is None
    assert engine.statistics().map_growths == growths
    assert engine.spaces == {b"a": (1, 2)} == counted(engine)
