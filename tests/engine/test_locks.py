"""Locks: who may change a locked item, and what ends a lock."""

from __future__ import annotations

import pytest

from trio_spool.engine import (
    Arithmetic,
    Concat,
    Delete,
    Edit,
    Flush,
    Get,
    Lock,
    Outcome,
    Problem,
    Remember,
    Step,
    StepKind,
    Store,
    StoreMode,
    Touch,
    Unlock,
)

SECONDS = 15
SET_A = (Step(StepKind.UPSERT, b"a", b"1"),)
SET_X = (Step(StepKind.UPSERT, b"x", b"1", xattr=True),)

# Every operation on an item that has a CAS for a condition, and what is left behind of {"n":1} when it has the right one.
CONDITIONAL = {
    "set": (lambda cas: Store(b"k", b"new", cas=cas), b"new"),
    "replace": (lambda cas: Store(b"k", b"new", mode=StoreMode.REPLACE, cas=cas), b"new"),
    "append": (lambda cas: Concat(b"k", b" ", cas=cas), b'{"n":1} '),
    "prepend": (lambda cas: Concat(b"k", b" ", True, cas=cas), b' {"n":1}'),
    "delete": (lambda cas: Delete(b"k", cas), None),
    "edit": (lambda cas: Edit(b"k", SET_A, cas=cas), b'{"n":1,"a":1}'),
    "edit or create": (lambda cas: Edit(b"k", SET_A, create=True, cas=cas), b'{"n":1,"a":1}'),
    "edit of xattrs": (lambda cas: Edit(b"k", SET_X, cas=cas), b'{"n":1}'),
    "edit that removes": (lambda cas: Edit(b"k", (Step(StepKind.REMOVE_DOCUMENT),), cas=cas), None),
}
# Operations that are refused although they have the right CAS, and why.
REFUSED = {
    "concat": (lambda cas: Concat(b"k", b"xx", max_size=3, cas=cas), Problem.NOT_STORED),
    "arithmetic": (lambda cas: Arithmetic(b"k", 1, cas=cas), Problem.NOT_A_NUMBER),
    "edit at a wrong path": (lambda cas: Edit(b"k", (Step(StepKind.REMOVE, b"nothing"),), cas=cas), Problem.PATH),
    "edit that is too big": (lambda cas: Edit(b"k", SET_A, max_size=5, cas=cas), Problem.TOO_BIG),
    "edit that adds": (lambda cas: Edit(b"k", SET_A, add=True, cas=cas), Problem.EXISTS),
}


def value_of(engine) -> bytes | None:
    reader = engine.open_reader()
    item = reader.get(b"k")
    reader.release()
    return None if item is None else item.value


@pytest.fixture
def locked(engine):
    """An engine with a locked item, and the CAS that the lock gave it."""
    before, lock = engine.execute([Store(b"k", b'{"n":1}', 7, 0, 1), Lock(b"k", SECONDS)])
    assert lock.cas > before.cas
    return engine, lock.cas, before.cas


def assert_unchanged(engine, cas: int) -> None:
    assert engine.is_locked(b"k")
    assert engine.execute([Get(b"k")])[0].cas == cas
    assert value_of(engine) == b'{"n":1}'


def test_lock_returns_the_item_with_its_new_cas(engine, clock) -> None:
    engine.execute([Edit(b"k", (Step(StepKind.UPSERT, b"x", b"1", xattr=True),), create=True, expiry=5000)])
    assert not engine.is_locked(b"k")
    assert engine.locks == {}
    before, lock, after = engine.execute([Get(b"k"), Lock(b"k", SECONDS), Get(b"k")])
    assert lock == Outcome(cas=lock.cas, seqno=before.item.seqno + 1, item=before.item._replace(cas=lock.cas, seqno=lock.seqno))
    assert after.item == lock.item
    assert lock.cas > before.cas
    assert engine.is_locked(b"k")
    assert not engine.is_locked(b"other")
    assert engine.locks == {b"k": clock.now + SECONDS}


def test_lock_of_a_missing_item(engine) -> None:
    assert engine.execute([Lock(b"k", SECONDS)]) == [Outcome(Problem.NOT_FOUND)]
    assert engine.locks == {}


def test_what_was_returned_before_does_not_change(locked) -> None:
    engine, cas, _ = locked
    before = engine.locks
    engine.execute([Unlock(b"k", cas)])
    assert list(before) == [b"k"]


@pytest.mark.parametrize("name", CONDITIONAL)
def test_without_the_right_cas_nothing_is_changed(locked, name: str) -> None:
    engine, cas, old_cas = locked
    make_operation, _ = CONDITIONAL[name]
    for wrong in (0, old_cas, cas + 1, 1):
        assert engine.execute([make_operation(wrong)]) == [Outcome(Problem.LOCKED)]
        assert_unchanged(engine, cas)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_right_cas_changes_it_and_ends_the_lock(locked, name: str) -> None:
    engine, cas, _ = locked
    make_operation, expected = CONDITIONAL[name]
    (outcome,) = engine.execute([make_operation(cas)])
    assert outcome.problem is None
    assert outcome.cas > cas
    assert value_of(engine) == expected
    assert not engine.is_locked(b"k")
    assert engine.locks == {}
    assert engine.execute([Store(b"k", b"by anybody")])[0].problem is None


@pytest.mark.parametrize("cas", ["none", "wrong", "right"])
def test_arithmetic(engine, cas: str) -> None:
    _, lock = engine.execute([Store(b"k", b"5"), Lock(b"k", SECONDS)])
    (outcome,) = engine.execute([Arithmetic(b"k", 1, cas={"none": 0, "wrong": lock.cas + 1, "right": lock.cas}[cas])])
    if cas == "right":
        assert (outcome.problem, outcome.number) == (None, 6)
    else:
        assert outcome == Outcome(Problem.LOCKED)
    assert engine.is_locked(b"k") is (cas != "right")
    assert value_of(engine) == (b"6" if cas == "right" else b"5")


@pytest.mark.parametrize("name", REFUSED)
def test_what_fails_with_the_right_cas_leaves_the_lock(locked, name: str) -> None:
    engine, cas, _ = locked
    make_operation, problem = REFUSED[name]
    assert engine.execute([make_operation(cas)])[0].problem is problem
    assert_unchanged(engine, cas)


@pytest.mark.parametrize(
    "make_operation",
    [lambda cas: Store(b"k", b"new", mode=StoreMode.ADD, cas=cas), lambda cas: Edit(b"k", SET_A, add=True, cas=cas)],
)
def test_what_only_adds_is_told_that_it_exists(locked, make_operation) -> None:
    engine, cas, old_cas = locked
    for wrong in (0, old_cas):
        assert engine.execute([make_operation(wrong)]) == [Outcome(Problem.EXISTS)]
        assert_unchanged(engine, cas)


@pytest.mark.parametrize("operation", [Touch(b"k", 2000), Touch(b"k", 0), Lock(b"k", 100)])
def test_what_has_no_cas_is_refused(locked, operation) -> None:
    engine, cas, _ = locked
    until = engine.locks[b"k"]
    assert engine.execute([operation]) == [Outcome(Problem.LOCKED)]
    assert_unchanged(engine, cas)
    assert engine.locks[b"k"] == until


def test_get_and_remember_do_not_care(locked) -> None:
    engine, cas, _ = locked
    found, remembered = engine.execute([Get(b"k"), Remember(b"k", b"v")])
    assert found.item.value == b'{"n":1}'
    assert remembered.problem is None
    assert_unchanged(engine, cas)


def test_other_items_are_not_locked(locked) -> None:
    engine, cas, _ = locked
    assert [outcome.problem for outcome in engine.execute([Store(b"k2", b"v"), Delete(b"k2")])] == [None, None]
    assert_unchanged(engine, cas)


def test_later_operations_of_a_submission_see_a_lock_and_its_end(engine) -> None:
    outcomes = engine.execute([Store(b"k", b"v"), Lock(b"k", SECONDS), Store(b"k", b"w"), Lock(b"k", SECONDS)])
    assert [outcome.problem for outcome in outcomes] == [None, None, Problem.LOCKED, Problem.LOCKED]
    cas = outcomes[1].cas
    outcomes = engine.execute(
        [Unlock(b"k", cas), Unlock(b"k", cas), Store(b"k", b"w"), Lock(b"k", SECONDS), Flush(), Store(b"k", b"x")]
    )
    assert [outcome.problem for outcome in outcomes] == [None, Problem.NOT_LOCKED, None, None, None, None]
    assert engine.locks == {}


# Unlock


def test_unlock(locked) -> None:
    engine, cas, _ = locked
    commits, seqno = engine.statistics().commits, engine.seqno
    assert engine.execute([Unlock(b"k", cas)]) == [Outcome(cas=cas)]
    assert not engine.is_locked(b"k")
    assert engine.execute([Get(b"k")])[0].cas == cas
    assert (engine.statistics().commits, engine.seqno) == (commits, seqno)
    assert engine.execute([Unlock(b"k", cas)]) == [Outcome(Problem.NOT_LOCKED)]


def test_unlock_with_another_cas(locked) -> None:
    engine, cas, old_cas = locked
    for wrong in (0, old_cas, cas + 1):
        assert engine.execute([Unlock(b"k", wrong)]) == [Outcome(Problem.LOCKED)]
        assert_unchanged(engine, cas)


def test_unlock_of_what_is_not_locked(engine) -> None:
    (stored,) = engine.execute([Store(b"k", b"v")])
    assert engine.execute([Unlock(b"k", stored.cas), Unlock(b"k", 1), Unlock(b"none", 1)]) == [
        Outcome(Problem.NOT_LOCKED),
        Outcome(Problem.NOT_LOCKED),
        Outcome(Problem.NOT_FOUND),
    ]


# What else ends a lock


def test_time(locked, clock) -> None:
    engine, cas, _ = locked
    clock.now += SECONDS - 0.5
    assert_unchanged(engine, cas)
    assert engine.execute([Delete(b"k")]) == [Outcome(Problem.LOCKED)]
    clock.now += 0.5
    assert not engine.is_locked(b"k")
    assert engine.execute([Unlock(b"k", cas)]) == [Outcome(Problem.NOT_LOCKED)]
    found, touched = engine.execute([Get(b"k"), Touch(b"k", 0)])
    assert found.cas == cas
    assert touched.problem is None


def test_a_lock_that_has_ended_can_be_followed_by_another(locked, clock) -> None:
    engine, cas, _ = locked
    clock.now += SECONDS
    (again,) = engine.execute([Lock(b"k", 5)])
    assert again.cas > cas
    assert engine.locks == {b"k": clock.now + 5}
    assert engine.execute([Store(b"k", b"v", cas=cas)]) == [Outcome(Problem.LOCKED)]


def test_locks_that_have_ended_are_forgotten(engine, clock) -> None:
    engine.execute([Store(b"%d" % n, b"v") for n in range(5)] + [Lock(b"%d" % n, n) for n in range(5)])
    clock.now += 2
    engine.execute([Lock(b"0", 10)])
    assert sorted(engine.locks) == [b"0", b"3", b"4"]


def test_an_item_that_expires_while_it_is_locked(engine, clock) -> None:
    (_, lock) = engine.execute([Store(b"k", b"v", expiry=1005), Lock(b"k", SECONDS)])
    clock.now = 1005
    assert [outcome.problem for outcome in engine.execute([Unlock(b"k", lock.cas), Touch(b"k", 0), Lock(b"k", 1)])] == [
        Problem.NOT_FOUND
    ] * 3
    first, second = engine.execute([Store(b"k", b"new", mode=StoreMode.ADD), Store(b"k", b"newer")])
    assert (first.problem, second.problem) == (None, None)
    assert not engine.is_locked(b"k")


def test_flush(locked) -> None:
    engine, _, _ = locked
    engine.execute([Flush()])
    assert engine.locks == {}
    assert engine.execute([Store(b"k", b"v"), Store(b"k", b"w")])[1].problem is None


def test_delayed_flush(engine, clock) -> None:
    engine.execute([Store(b"k", b"v"), Flush(clock.now + 1000), Lock(b"k", 5000)])
    assert engine.is_locked(b"k")
    clock.now += 1000
    assert [outcome.problem for outcome in engine.execute([Store(b"k", b"v"), Store(b"k", b"w")])] == [None, None]
    assert engine.locks == {}


def test_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    _, lock = engine.execute([Store(b"k", b"v"), Lock(b"k", SECONDS)])
    engine.close()
    engine = make_lmdb(**options)
    assert engine.locks == {}
    assert not engine.is_locked(b"k")
    assert engine.execute([Unlock(b"k", lock.cas)]) == [Outcome(Problem.NOT_LOCKED)]
    found, stored = engine.execute([Get(b"k"), Store(b"k", b"w", cas=lock.cas)])
    assert found.cas == lock.cas
    assert stored.problem is None


# Transactions that fail


def test_a_transaction_that_is_aborted_changes_no_locks(locked) -> None:
    engine, cas, _ = locked
    engine.execute([Store(b"free", b"v")])
    before = engine.locks
    for operations in ([Unlock(b"k", cas)], [Store(b"k", b"w", cas=cas)], [Flush()], [Lock(b"free", SECONDS)]):
        assert engine.execute([*operations, object()])[0].problem is Problem.FAILED
        assert engine.locks == before
        assert_unchanged(engine, cas)
    assert not engine.is_locked(b"free")


def test_nobody_reads_the_cas_of_a_lock_before_it_holds(make_faulty, options, faults) -> None:
    """Readers show no CAS of a locked item: so it must count as locked as soon as they can read what the lock made of it."""
    engine = make_faulty(**options)
    engine.execute([Store(b"k", b"v"), Store(b"other", b"v"), Lock(b"other", SECONDS)])
    seen = []
    for point in ("commit", "committed"):
        faults.hooks[point] = lambda: seen.append((engine.is_locked(b"k"), engine.is_locked(b"other")))
    engine.execute([Lock(b"k", SECONDS)])
    assert seen == [(True, True), (True, True)]


def test_a_lock_that_is_not_committed_does_not_hold(make_faulty, options, faults) -> None:
    engine = make_faulty(**options)
    _, _, lock = engine.execute([Store(b"k", b"v"), Store(b"other", b"v"), Lock(b"other", SECONDS)])
    before = engine.locks
    faults.add("commit", OSError("the disk is gone"))
    assert engine.execute([Lock(b"k", SECONDS), Unlock(b"other", lock.cas)])[0].problem is Problem.FAILED
    assert engine.locks == before
    assert engine.execute([Store(b"k", b"w"), Store(b"other", b"w")])[0].problem is None
    assert engine.is_locked(b"other")
