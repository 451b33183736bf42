"""What snapshots make the file grow: bounded, and only those that hold too much are ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_spool.engine import Delete, SnapshotEndedError, Store
from trio_spool.engine.lmdb._file import held_bytes

MIB = 1 << 20
KEYS = 1000


@pytest.fixture
def engine(make_lmdb, options):
    return make_lmdb(**options, max_held_size=2 * MIB)


def overwrite(engine, rounds: int, keys: int = KEYS) -> None:
    """Write each key again and again, 100 kB in a commit."""
    for number in range(rounds):
        for first in range(0, keys, 100):
            stores = [Store(b"%06d" % key, bytes([number]) * 1000) for key in range(first, first + 100)]
            assert {outcome.problem for outcome in engine.execute(stores)} == {None}


def is_ended(snapshot) -> bool:
    try:
        snapshot.read(b"", None, max_records=1, max_bytes=1)
    except SnapshotEndedError:
        return True
    return False


def test_an_open_snapshot_does_not_make_the_file_grow_for_ever(engine) -> None:
    overwrite(engine, 1)
    snapshot = engine.snapshot()
    overwrite(engine, 20)
    statistics = engine.statistics()
    # What the items need, as much again or the bound, and a few commits; without the limit it was ten times that.
    assert statistics.live_bytes < 2 * MIB
    assert statistics.disk_bytes < 6 * MIB
    assert (statistics.snapshots, statistics.snapshots_ended, statistics.snapshots_ended_for_space) == (0, 0, 1)
    assert is_ended(snapshot)


def test_one_scan_after_another_does_not_make_it_grow_either(engine) -> None:
    """A bound on what each of them may add would be no bound."""
    overwrite(engine, 1)
    for _ in range(10):
        snapshot = engine.snapshot()
        overwrite(engine, 8)
        assert is_ended(snapshot)
    assert engine.statistics().disk_bytes < 6 * MIB


def test_a_snapshot_that_holds_little_is_left_alone(engine) -> None:
    overwrite(engine, 1)
    with engine.snapshot() as snapshot:
        engine.execute([Store(b"%06d" % key, b"new") for key in range(100)])
        for number in range(30):
            engine.execute([Store(b"one", b"%d" % number)])
        assert not is_ended(snapshot)
        assert len(list(snapshot.records())) == KEYS


def test_as_much_as_is_stored_may_be_held(engine) -> None:
    """A bound for small buckets, and not one that no scan of a large bucket would survive."""
    overwrite(engine, 1, keys=8 * KEYS)
    assert engine.statistics().max_held_bytes == engine.statistics().live_bytes > 8 * MIB
    with engine.snapshot() as snapshot:
        overwrite(engine, 4)  # 4 MB, over the bound
        assert not is_ended(snapshot)
        overwrite(engine, 10)
        assert is_ended(snapshot)


def test_what_is_free_is_not_held(engine) -> None:
    """After a large deletion, most of the file is unused. That is no snapshot's doing."""
    overwrite(engine, 1, keys=20 * KEYS)
    engine.execute([Delete(b"%06d" % key) for key in range(KEYS, 20 * KEYS)])
    overwrite(engine, 1)
    before = engine.statistics()
    assert before.unused_bytes > 10 * MIB
    with engine.snapshot() as snapshot:
        overwrite(engine, 6)
        assert not is_ended(snapshot)
        overwrite(engine, 30)
        assert is_ended(snapshot)
    assert engine.statistics().disk_bytes < before.disk_bytes + 2 * MIB


def test_gaps_are_not_held(engine) -> None:
    """Among large items, the file may grow although much of it is free: an item needs pages that lie together."""
    engine.execute([Store(b"%04d" % number, bytes(20_000)) for number in range(300)])
    for number in range(300):
        if number % 4:
            engine.execute([Delete(b"%04d" % number)])
    before = engine.statistics()
    assert before.unused_bytes > max(2 * MIB, before.live_bytes)
    with engine.snapshot() as snapshot:
        for number in range(10):
            engine.execute([Store(b"large%d" % number, bytes(100_000))])
        assert engine.statistics().disk_bytes > before.disk_bytes
        assert not is_ended(snapshot)
        overwrite(engine, 10)  # now much of it is held
        assert is_ended(snapshot)


def test_what_is_found_is_what_lmdb_keeps(engine) -> None:
    """It is used again once the snapshot is closed, and not before."""
    overwrite(engine, 1)
    with engine.snapshot() as snapshot:
        for number in range(100):
            engine.execute([Store(b"%06d" % number, b"new" * 300)])
        found = list(held_bytes(engine.storage._path / "data.mdb", snapshot.transaction_id))
        statistics = engine.statistics()
        # All that is unused was needed at some time since, but what was free before, and the list itself.
        assert 0.8 * statistics.unused_bytes < found[-1] <= statistics.unused_bytes
    with engine.snapshot() as snapshot:
        (*_, held) = held_bytes(engine.storage._path / "data.mdb", snapshot.transaction_id)
        assert held < found[-1] / 10


def test_a_file_that_is_not_understood_is_bounded_all_the_same(make_lmdb, options) -> None:
    engine = make_lmdb(**options, max_held_size=2 * MIB)
    overwrite(engine, 1)
    engine._growth._file = Path("/dev/null")
    with engine.snapshot() as snapshot:
        overwrite(engine, 20)
        assert is_ended(snapshot)
    assert engine.statistics().disk_bytes < 6 * MIB


def test_the_oldest_one_is_ended_and_the_others_go_on(engine) -> None:
    overwrite(engine, 1)
    oldest = engine.snapshot()
    overwrite(engine, 2)
    younger = engine.snapshot()
    for _ in range(40):
        if is_ended(oldest):
            break
        overwrite(engine, 1, keys=100)
    assert is_ended(oldest)
    assert not is_ended(younger)
    overwrite(engine, 1, keys=100)
    assert not is_ended(younger)
    overwrite(engine, 20)
    assert is_ended(younger)
    assert engine.statistics().snapshots_ended_for_space == 2


def test_what_is_said_of_it(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    overwrite(engine, 3)
    statistics = engine.statistics()
    assert statistics.disk_bytes == statistics.live_bytes + statistics.unused_bytes
    assert 1000 * KEYS < statistics.live_bytes < statistics.disk_bytes
    assert statistics.max_held_bytes == 256 * MIB
    assert statistics.oldest_snapshot_seconds == 0
    with engine.snapshot(), engine.snapshot():
        first = engine.statistics().oldest_snapshot_seconds
        assert 0 <= first <= engine.statistics().oldest_snapshot_seconds


def test_a_look_that_fails_is_taken_again(make_faulty, options, faults) -> None:
    engine = make_faulty(**options, max_held_size=2 * MIB)
    overwrite(engine, 1)
    snapshot = engine.snapshot()
    faults.add("read", *[OSError("no")] * 5)
    overwrite(engine, 20)
    assert is_ended(snapshot)


def test_nothing_is_measured_while_there_is_no_snapshot(make_faulty, options, faults) -> None:
    engine = make_faulty(**options)
    faults.calls.clear()
    overwrite(engine, 1)
    assert "read" not in faults.calls
