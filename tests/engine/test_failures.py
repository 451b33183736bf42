"""What fails below an engine: transactions, syncs, the map, the directory."""

from __future__ import annotations

import errno
import threading

import lmdb
import pytest

from support.storage import PATIENCE, wait_until
from trio_spool.engine import DataDirectoryError, Problem, SnapshotEndedError, Store, open_engine


@pytest.mark.parametrize("point", ["cursor", "commit"])
def test_the_map_is_full_while_expired_items_are_removed(make_faulty, options, clock, faults, point: str) -> None:
    engine = make_faulty(**options)
    engine.execute([Store(b"k", b"v", expiry=1005)])
    clock.now = 1005
    faults.add(point, lmdb.MapFullError("full"), lmdb.MapFullError("full"))
    assert engine.writer.remove_expired() is False
    statistics = engine.statistics()
    assert (statistics.items, statistics.expired, statistics.map_growths) == (0, 1, 2)
    assert engine.spaces == {}


def test_the_map_grows_while_nobody_reads(make_faulty, faults) -> None:
    """LMDB unmaps what a reader looks at: so nobody may be inside, or have a transaction."""
    engine = make_faulty(map_size=1 << 20)
    engine.execute([Store(b"k", b"v")])
    readers = [engine.open_reader() for _ in range(3)]
    assert [reader.get(b"k").value for reader in readers] == [b"v"] * 3
    snapshot = engine.snapshot()
    readings = list(engine.storage._readings)
    seen = []
    faults.hooks["set_mapsize"] = lambda: seen.append([(each.lock.locked(), each.transaction) for each in readings])
    answered = threading.Event()
    outcomes = []
    engine.submit([Store(b"large", b"x" * 1_500_000)], lambda outcome: (outcomes.extend(outcome), answered.set()))
    assert answered.wait(PATIENCE)
    assert outcomes[0].problem is None
    assert seen == [[(True, None)] * 4] * len(seen) != []
    assert not any(reading.lock.locked() for reading in readings)
    assert [len(reader.get(b"large").value) for reader in readers] == [1_500_000] * 3
    with pytest.raises(SnapshotEndedError):
        list(snapshot.records())


@pytest.mark.parametrize("error", [lmdb.MemoryError("no address space"), OSError(errno.ENOMEM, "no address space")])
def test_a_map_that_can_not_grow_is_no_space(make_faulty, faults, error: Exception) -> None:
    """The writer goes on: its end would keep everybody who writes waiting for ever."""
    engine = make_faulty()
    faults.add("commit", lmdb.MapFullError("full"))
    faults.add("set_mapsize", error)
    assert engine.execute([Store(b"k", b"v")])[0].problem is Problem.NO_SPACE
    assert engine.execute([Store(b"k", b"v")])[0].problem is None
    assert engine.statistics().map_growths == 0


def test_a_sync_that_fails_is_tried_again(make_faulty, clock, faults) -> None:
    """The writer goes on: its end would keep everybody who writes waiting for ever."""
    engine = make_faulty(fsync="everysec", clock=clock, expiry_interval=0.01, sync_interval=0.0)
    before = faults.calls.count("sync")
    faults.add("sync", *[lmdb.DiskError("the disk is gone")] * 3)
    engine.execute([Store(b"a", b"v")])
    wait_until(lambda: faults.calls.count("sync") == before + 4)
    engine.execute([Store(b"b", b"v")])
    assert [key for key, _ in engine.entries()] == [b"a", b"b"]


def test_a_walk_of_many_keys(make) -> None:
    engine = make()
    engine.execute([Store(b"%04d" % n, b"v") for n in range(2000)])
    assert [key for key, _ in engine.entries()] == [b"%04d" % n for n in range(2000)]
    assert [key for key, _ in engine.entries(b"1990")] == [b"%04d" % n for n in range(1990, 2000)]
    assert list(engine.entries(b"2")) == []
    with engine.snapshot() as snapshot:
        assert snapshot.count == 2000


# Opening


def out_of_memory(error: Exception = lmdb.Error("no memory")) -> Exception:
    error.code = errno.ENOMEM
    return error


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError(), lmdb.MemoryError("x"), out_of_memory(), OSError(errno.ENOMEM, "x")]
)
def test_the_map_that_is_reserved_gets_smaller(make_faulty, faults, error: Exception) -> None:
    faults.add("open", error, error, error)
    assert make_faulty(map_size=1 << 26).statistics().map_bytes == 1 << 23


@pytest.mark.parametrize("error", [MemoryError(), out_of_memory()])
def test_there_is_no_room_for_any_map(make_faulty, faults, error: Exception) -> None:
    faults.add("open", *[error] * 3)
    with pytest.raises(DataDirectoryError, match=r"can't open the database in .*: (MemoryError|no memory)"):
        make_faulty(map_size=1 << 22)
    assert faults.calls == ["open"] * 3  # of 4, 2 and 1 MiB


def test_another_error_is_no_reason_for_a_smaller_map(make_faulty, faults) -> None:
    faults.add("open", PermissionError(errno.EACCES, "no"))
    with pytest.raises(DataDirectoryError, match=r"can't open the database in .*: .*no"):
        make_faulty()
    assert faults.calls == ["open"]


def test_directories_that_can_not_be_used(tmp_path) -> None:
    with pytest.raises(DataDirectoryError, match="check who owns it"):
        open_engine("lmdb", tmp_path / ("x" * 300))
    (tmp_path / "a" / "trio-spool.json").mkdir(parents=True)
    with pytest.raises(DataDirectoryError, match=r"can't read .*trio-spool\.json: is a directory"):
        open_engine("lmdb", tmp_path / "a")
    (tmp_path / "b" / "trio-spool.json.new").mkdir(parents=True)
    with pytest.raises(DataDirectoryError, match=r"can't write to .*b: is a directory; change its permissions"):
        open_engine("lmdb", tmp_path / "b")
    (tmp_path / "b" / "trio-spool.json.new").rmdir()
    open_engine("lmdb", tmp_path / "b").close()  # the lock file that was left there does no harm
