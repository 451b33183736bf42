"""Tombstones through everything that happens to a store: restarts, copies, checks, flushes, the purge, damage, and readers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trio_spool.engine import (
    TOMBSTONE_PREFIX,
    Delete,
    Edit,
    Flush,
    Get,
    Item,
    Lock,
    Problem,
    Remove,
    Step,
    StepKind,
    Store,
    Tombstone,
    check_store,
    compact_store,
    count_copy,
    is_tombstone,
    open_engine,
    plan_in_thread,
)
from trio_spool.engine._batch import Batch, Shared
from trio_spool.engine._clocks import Moment
from trio_spool.engine._storage import Transaction

LIFE = 100.0
STAGED = b'{"txn":{"op":"insert"}}'
SET = Step(StepKind.UPSERT, b"txn", b'{"op":"insert"}', xattr=True)
DROP = Step(StepKind.REMOVE, b"txn", xattr=True)


def bury(key: bytes, **how: Any) -> Edit:
    return Edit(key, (SET,), add=True, tombstones=True, as_tombstone=True, **how)


def revive(key: bytes, cas: int = 0, **how: Any) -> Edit:
    """Make the staged value the document, and remove what was staged."""
    unstage = Step(StepKind.DOCUMENT_FROM_XATTR, b"txn.op", xattr=True)
    return Edit(key, (unstage, DROP), cas=cas, datatype=1, tombstones=True, revive=True, **how)


@pytest.fixture
def options(options):
    return {**options, "tombstone_life": LIFE}


@pytest.fixture
def engine(make, options):
    return make(**options)


def find(engine, key: bytes) -> Item | None:
    reader = engine.open_reader()
    try:
        return reader.find(key)
    finally:
        reader.close()


def test_it_is_found_only_by_those_who_look_for_it(engine, clock) -> None:
    (made,) = engine.execute([bury(b"k")])
    assert made.deleted
    expected = Tombstone(b"", expiry=int(clock()) + int(LIFE), cas=made.cas, seqno=made.seqno, xattrs=STAGED)
    seen, plain, deleted = engine.execute([Get(b"k", tombstones=True), Get(b"k"), Delete(b"k")])
    assert seen.item == expected
    assert isinstance(seen.item, Tombstone)
    assert plain.problem is deleted.problem is Problem.NOT_FOUND
    assert find(engine, b"k") == expected
    assert engine.open_reader().get(b"k") is None
    assert list(engine.entries()) == []
    with engine.snapshot() as snapshot:
        assert list(snapshot.records()) == []


def test_a_walk_goes_around_it(engine) -> None:
    keys = [b"\0a", b"\0b", b"\x02a", b"z"]
    engine.execute([Store(key, b"v") for key in keys])
    engine.execute([bury(key) for key in (b"\0c", b"k", b"zz")])
    assert [key for key, _ in engine.entries()] == keys
    assert [key for key, _ in engine.entries(b"\1")] == keys[2:]
    for how in ({}, {"keys_only": True}, {"xattrs": True}):
        with engine.snapshot(**how) as snapshot:
            for start in (b"", b"\0b", b"\1", b"\1k", b"\x02", b"k"):
                for end in (None, b"\0b", b"\1", b"\1z", b"\x02", b"\x02b", b"zzz"):
                    found = [record[0] for record in snapshot.records(start, end)]
                    assert found == [key for key in keys if start <= key and (end is None or key < end)]
                    position, found = start, []
                    while position is not None:  # in pieces of one record
                        chunk = snapshot.read(position, end, max_records=1, max_bytes=1 << 20)
                        position = chunk.following
                        found += [record[0] for record in chunk.records]
                    assert found == [key for key in keys if start <= key and (end is None or key < end)]


def test_it_is_revived(engine) -> None:
    (made,) = engine.execute([bury(b"k")])
    wrong, right, again = engine.execute([revive(b"k", made.cas + 1), revive(b"k", made.cas), revive(b"k")])
    assert wrong.problem is Problem.EXISTS
    assert again.problem is Problem.ALIVE
    assert find(engine, b"k") == Item(b'"insert"', datatype=1, cas=right.cas, seqno=right.seqno)
    assert not engine.tombstones
    (deleted,) = engine.execute([Delete(b"k")])
    assert deleted.problem is None
    assert find(engine, b"k") is None


def test_a_value_is_stored_over_it(engine) -> None:
    engine.execute([bury(b"k"), Store(b"k", b"v")])
    assert find(engine, b"k").xattrs == b""
    assert not engine.tombstones
    assert engine.spaces == {b"k": (1, 2)}


def test_one_over_an_item_that_has_expired(engine, clock) -> None:
    """The item is not removed yet, and goes then: a key has one of both."""
    engine.execute([Store(b"k", b"v", expiry=int(clock()) + 5)])
    clock.now += 10
    (made,) = engine.execute([bury(b"k")])
    assert made.deleted
    assert (engine.spaces, engine.tombstones) == ({}, {b"k": (1, len(TOMBSTONE_PREFIX + b"k") + len(STAGED))})
    engine.writer.remove_expired()
    assert isinstance(find(engine, b"k"), Tombstone)


def test_it_is_purged(engine, clock) -> None:
    engine.execute([bury(b"k"), bury(b"m")])
    clock.now += LIFE - 1
    (changed,) = engine.execute([Edit(b"m", (SET,), tombstones=True)])  # which then lives on
    clock.now += 1.5
    assert find(engine, b"k") is None
    assert engine.execute([bury(b"k")])[0].deleted  # it is not removed yet, and not in the way
    assert engine.execute([Get(b"k", tombstones=True)])[0].item is not None
    clock.now += LIFE - 1
    assert find(engine, b"m") is None
    engine.writer.remove_expired()
    assert list(engine.tombstones) == [b"k"]
    assert engine.statistics().expired == 0
    assert find(engine, b"k").cas > changed.cas


def test_a_flush_removes_it(engine) -> None:
    engine.execute([bury(b"k"), Store(b"a", b"v")])
    engine.execute([Flush(), bury(b"m")])
    assert find(engine, b"k") is None
    assert list(engine.tombstones) == [b"m"]
    engine.execute([Flush()])
    assert (engine.tombstones, engine.statistics().tombstones) == ({}, 0)


def test_those_of_a_prefix_are_removed(engine) -> None:
    engine.execute([bury(b"a1"), bury(b"a2"), bury(b"b1"), Store(b"a3", b"v")])
    (removed,) = engine.execute([Remove(TOMBSTONE_PREFIX + b"a")])
    assert removed.number == 2
    assert (list(engine.tombstones), list(engine.spaces)) == ([b"b"], [b"a"])


def test_plans(engine) -> None:
    """Edits of large ones are worked out beforehand: they are not carried out if one became the other meanwhile."""
    first = plan_in_thread(bury(b"k"), None)
    assert engine.execute([first])[0].deleted
    assert engine.execute([first])[0].problem is Problem.CHANGED
    tombstone = find(engine, b"k")
    plan, late = (plan_in_thread(revive(b"k"), tombstone) for _ in range(2))
    done, again = engine.execute([plan, late])
    assert (done.problem, done.deleted, again.problem) == (None, False, Problem.CHANGED)
    assert find(engine, b"k").value == b'"insert"'


def test_an_empty_document_is_not_taken_for_a_tombstone(engine) -> None:
    engine.execute([bury(b"k")])
    plan = plan_in_thread(Edit(b"k", (DROP,), tombstones=True), find(engine, b"k"))
    engine.execute([Edit(b"k", (SET, Step(StepKind.SET_DOCUMENT)), create=True)])
    assert find(engine, b"k")._replace(cas=0, seqno=0) == Item(b"", xattrs=STAGED)
    assert engine.execute([plan])[0].problem is Problem.CHANGED


def test_a_lock_of_what_has_expired_is_not_of_the_tombstone(engine, clock) -> None:
    engine.execute([Store(b"k", b"v", expiry=int(clock()) + 5), Lock(b"k", 30)])
    clock.now += 10
    assert engine.execute([bury(b"k")])[0].deleted
    assert engine.execute([Edit(b"k", (SET,), tombstones=True)])[0].deleted
    assert engine.execute([revive(b"k")])[0].problem is None


class Counting(Transaction):
    """A store without items that counts how often it is asked for one."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> Item | None:
        self.asked.append(key)
        return None

    def put(self, key: bytes, item: Item, old: Item | None) -> None: ...
    def delete(self, key: bytes, old: Item) -> None: ...
    def clear(self) -> None: ...
    def remember(self, name: bytes, value: bytes) -> None: ...
    def commit(self, state: Any, spaces: Any) -> None: ...
    def abort(self) -> None: ...

    def used(self) -> int:
        return 0

    def cost(self, key: bytes, item: Item) -> int:
        return 0

    def keys(self, prefix: bytes, limit: int) -> list[bytes]:
        return []

    def expired(self, now: float, limit: int) -> list[bytes]:
        return []


def test_nobody_looks_for_one_while_there_is_none() -> None:
    transaction = Counting()
    batch = Batch(transaction, Shared(), Moment(1000.0, 1000.0, 1), lambda key: b"")
    operations = [Store(b"k", b"v"), Get(b"k", tombstones=True), Edit(b"k", (SET,), create=True, tombstones=True)]
    for operation in operations:
        batch.run(operation)
    assert transaction.asked == [b"k"] * 3
    assert batch.run(bury(b"k")).deleted
    transaction.asked.clear()
    for operation in operations:
        batch.run(operation)
    assert transaction.asked == [b"k", b"\1k"] * 3 + [b"\1k"]  # what is made removes it


def test_a_reader_sees_the_one_or_the_other(engine) -> None:
    """While another thread turns it from a tombstone into a document and back, there is always one of both."""
    engine.execute([bury(b"k")])
    stop, missing = threading.Event(), []

    def read() -> None:
        reader = engine.open_reader()
        while not stop.is_set():
            if reader.find(b"k") is None:
                missing.append(True)
            reader.release()
        reader.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for _ in range(150):
        engine.execute([revive(b"k")])
        engine.execute([Delete(b"k"), bury(b"k")])
    stop.set()
    for thread in readers:
        thread.join()
    assert missing == []


# On disk


def test_a_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    engine.execute([bury(b"k"), Store(b"a", b"v")])
    before = find(engine, b"k")
    engine.close()
    engine = make_lmdb(**options)
    assert find(engine, b"k") == before
    assert isinstance(find(engine, b"k"), Tombstone)
    assert (list(engine.tombstones), list(engine.spaces)) == ([b"k"], [b"a"])
    assert engine.execute([revive(b"k", before.cas)])[0].problem is None
    assert not engine.tombstones


@pytest.mark.parametrize("left", [True, False])
def test_check_and_compact(make_lmdb, options, tmp_path, left: bool) -> None:
    engine = make_lmdb(**options)
    engine.execute([bury(b"%d" % number) for number in range(50)] + [Store(b"a", b"v")])
    if not left:
        engine.execute([revive(b"%d" % number) for number in range(50)])
    engine.close()
    counts = (1, 50) if left else (51, 0)
    report = check_store(tmp_path / "data")
    assert (report.damage, report.items, report.tombstones) == ([], *counts)
    assert compact_store(tmp_path / "data").items == counts[0]
    report = check_store(tmp_path / "data")
    assert (report.damage, report.items, report.tombstones) == ([], *counts)
    engine = make_lmdb(**options)
    assert sum(space.items for space in engine.tombstones.values()) == (50 if left else 0)
    assert isinstance(find(engine, b"7"), Tombstone) == left


def test_a_copy_has_it(make_lmdb, options, tmp_path) -> None:
    engine = make_lmdb(**options)
    engine.execute([bury(b"k"), Store(b"a", b"v")])
    engine.copy_files(tmp_path / "copy", lambda: None)
    with open_engine("lmdb", tmp_path / "copy", **options) as copy:
        assert find(copy, b"k") == find(engine, b"k")
    assert count_copy(tmp_path / "copy") == 1
    with open_engine("lmdb", tmp_path / "copy", **options) as copy:
        assert list(copy.tombstones) == [b"k"]


@pytest.mark.parametrize("operation", [Get(b"k", tombstones=True), bury(b"k"), revive(b"k")], ids=["get", "bury", "revive"])
def test_one_that_is_damaged(make_lmdb, options, operation) -> None:
    """Nothing is made of it; a value is stored over it all the same, as over a damaged item."""
    engine = make_lmdb(**options)
    engine.execute([bury(b"k"), bury(b"m")])
    with engine.storage.env.begin(write=True, db=engine.storage.databases.items) as transaction:
        record = bytearray(transaction.get(b"\1k"))
        record[-6] ^= 1
        transaction.put(b"\1k", bytes(record))
    assert engine.execute([operation])[0].problem is Problem.DAMAGED
    assert engine.execute([Get(b"m", tombstones=True)])[0].problem is None
    assert engine.execute([Store(b"k", b"v")])[0].problem is None
    assert find(engine, b"k").value == b"v"
    assert list(engine.tombstones) == [b"m"]


def test_what_a_cache_must_leave_alone() -> None:
    assert is_tombstone(TOMBSTONE_PREFIX + b"\0k")
    assert not is_tombstone(b"\0k")
