"""Removing all keys with a prefix, piece by piece."""

from __future__ import annotations

import pytest

from trio_spool.engine import Delete, Flush, Get, Lock, Outcome, Problem, Remove, Store, Touch


def keys_of(engine) -> list[bytes]:
    return [key for key, _ in engine.entries()]


def test_in_pieces(engine) -> None:
    engine.execute([Store(b"a%02d" % n, b"v") for n in range(25)] + [Store(b"b", b"v"), Store(b"Z", b"v")])
    seqno = engine.seqno
    for removed, left in [(10, 15), (10, 5), (5, 0), (0, 0)]:
        assert engine.execute([Remove(b"a", 10)]) == [Outcome(number=removed)]
        assert engine.spaces.get(b"a", (0, 0)) == (left, left * 4)
        assert keys_of(engine) == [b"Z", *(b"a%02d" % n for n in range(25 - left, 25)), b"b"]
    assert engine.seqno == seqno + 25


@pytest.mark.parametrize(
    ("prefix", "left"),
    [
        (b"", []),
        (b"a", [b"b", b"\xff", b"\xff\xff1"]),
        (b"ab", [b"a", b"b", b"\xff", b"\xff\xff1"]),
        (b"\xff", [b"a", b"ab", b"abc", b"b"]),
        (b"\xff\xff", [b"a", b"ab", b"abc", b"b", b"\xff"]),
        (b"abcd", [b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff1"]),
        (b"c", [b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff1"]),
    ],
)
def test_prefix(engine, prefix: bytes, left: list[bytes]) -> None:
    engine.execute([Store(key, b"v") for key in (b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff1")])
    (outcome,) = engine.execute([Remove(prefix)])
    assert outcome.number == 6 - len(left)
    assert keys_of(engine) == left


def test_limits(engine) -> None:
    assert engine.execute([Remove(b"")]) == [Outcome(number=0)]
    engine.execute([Store(b"a%04d" % n, b"") for n in range(1500)])
    assert [outcome.number for outcome in engine.execute([Remove(b"a", 0), Remove(b"a"), Remove(b"a"), Remove(b"a")])] == [
        0,
        1000,
        500,
        0,
    ]


def test_in_a_transaction_with_others(engine) -> None:
    engine.execute([Store(b"a1", b"v"), Store(b"a2", b"v")])
    *_, first, found, stored, second = engine.execute(
        [Delete(b"a1"), Store(b"a3", b"v"), Store(b"b", b"v"), Remove(b"a"), Get(b"a3"), Store(b"a4", b"v"), Remove(b"a")]
    )
    assert (first.number, second.number) == (2, 1)
    assert found.problem is Problem.NOT_FOUND
    assert stored.problem is None
    assert keys_of(engine) == [b"b"]
    (_, _, after_flush) = engine.execute([Flush(), Store(b"a5", b"v"), Remove(b"")])
    assert after_flush.number == 1
    assert keys_of(engine) == []


def test_no_cas_is_used_again(engine) -> None:
    (before,) = engine.execute([Store(b"a", b"v")])
    engine.execute([Remove(b"a")])
    (after,) = engine.execute([Store(b"a", b"v")])
    assert after.cas > before.cas
    assert after.seqno == before.seqno + 2


def test_expired_items_are_removed_too(engine, clock) -> None:
    engine.execute([Store(b"a1", b"v", expiry=1005), Store(b"a2", b"v", expiry=1010)])
    clock.now = 1005
    assert engine.execute([Remove(b"a")])[0].number == 2
    assert engine.spaces == {}


def test_the_expiry_of_a_removed_item_is_forgotten(engine, clock) -> None:
    engine.execute([Store(b"a1", b"v", expiry=1005)])
    engine.execute([Remove(b"a")])
    engine.execute([Store(b"a1", b"v"), Store(b"a2", b"v"), Touch(b"a2", 1010)])
    clock.now = 1005
    engine.writer.remove_expired()
    assert keys_of(engine) == [b"a1", b"a2"]
    assert engine.statistics().expired == 0


def test_locks_do_not_hold_it_up_and_end(engine) -> None:
    engine.execute([Store(b"a1", b"v"), Store(b"b", b"v"), Lock(b"a1", 15), Lock(b"b", 15)])
    engine.execute([Remove(b"a")])
    assert not engine.is_locked(b"a1")
    assert engine.is_locked(b"b")
    assert list(engine.locks) == [b"b"]


def test_a_lock_ends_when_its_item_has_expired_and_is_removed(engine, clock) -> None:
    engine.execute([Store(b"a", b"v", expiry=1005), Lock(b"a", 15)])
    clock.now = 1005
    engine.writer.remove_expired()
    assert not engine.is_locked(b"a")
    assert engine.locks == {}


def test_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    engine.execute([Store(b"a1", b"v", expiry=1005), Store(b"a2", b"v"), Store(b"b", b"v")])
    engine.execute([Remove(b"a", 1)])
    engine.close()
    engine = make_lmdb(**options)
    assert keys_of(engine) == [b"a2", b"b"]
    assert engine.spaces == {b"a": (1, 3), b"b": (1, 2)}
