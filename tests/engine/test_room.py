"""Room: a map that grows or can't, a disk that is full, address space that is short."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import lmdb
import pytest

from support.storage import PATIENCE
from trio_spool.engine import (
    DataDirectoryError,
    EngineClosedError,
    EngineFailedError,
    Item,
    Problem,
    Snapshot,
    SnapshotEndedError,
    Store,
    open_engine,
)
from trio_spool.engine.lmdb._opening import open_largest
from trio_spool.engine.lmdb._room import SPARE, larger


def items_of(snapshot: Snapshot) -> Iterator[tuple[bytes, Item]]:
    return ((key, Item(*rest)) for key, *rest in snapshot.records())


def test_map_grows_under_readers_and_snapshots(make_lmdb) -> None:
    engine = make_lmdb(map_size=1 << 20)
    engine.execute([Store(b"first", b"v")])
    reader = engine.open_reader()
    assert reader.get(b"first") is not None
    snapshot = engine.snapshot()
    walk = engine.entries()
    for number in range(50):
        (outcome,) = engine.execute([Store(b"%d" % number, b"x" * 100_000)])
        assert outcome.problem is None
    assert engine.statistics().map_growths >= 3
    assert reader.get(b"first") is not None
    with pytest.raises(SnapshotEndedError):
        list(items_of(snapshot))
    assert len(list(walk)) == 51
    with engine.snapshot() as again:
        assert len(list(items_of(again))) == 51


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
    assert seen == [[(True, None)] * len(readings)] * len(seen) != []
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


def test_full_disk_is_a_clear_outcome(tmp_path) -> None:
    script = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from trio_spool.engine import Problem, Store, open_engine
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        engine = open_engine("lmdb", Path({str(tmp_path / "data")!r}), fsync="always")
        engine.execute([Store(b"before", b"v")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        stored = 0
        while True:
            (outcome,) = engine.execute([Store(b"big%d" % stored, b"x" * 100_000)])
            if outcome.problem is not None:
                break
            stored += 1
        assert outcome.problem is Problem.NO_SPACE, outcome
        for size in (100_000, 300_000, 1_000_000) * 4:  # some end half-way, which LMDB takes for a disk that fails
            (outcome,) = engine.execute([Store(b"more", b"x" * size)])
            assert outcome.problem is Problem.NO_SPACE, outcome
        assert engine.failure is None
        reader = engine.open_reader()
        assert reader.get(b"before") is not None
        assert reader.get(b"big%d" % (stored - 1)) is not None
        reader.release()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (outcome,) = engine.execute([Store(b"after", b"x" * 100_000)])
        assert outcome.problem is None, outcome
        engine.close()
        print(stored)
    """)
    stored = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    with open_engine("lmdb", tmp_path / "data") as engine:
        assert engine.statistics().items == stored + 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on address space that the system keeps")
def test_little_address_space(tmp_path) -> None:
    script = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from trio_spool.engine import Store, open_engine
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
        with open_engine("lmdb", Path({str(tmp_path / "data")!r}), fsync="no") as engine:
            assert engine.execute([Store(b"k", b"v")])[0].problem is None
            print(engine.statistics().map_bytes)
    """)
    size = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    assert 1 << 20 <= size < 2 << 30


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
    with pytest.raises(DataDirectoryError, match=r"can't open the database in .*: permission denied"):
        make_faulty()
    assert faults.calls == ["open"]


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (1 << 40, 128 << 20),
        (64 << 20, 128 << 20),
        (63 << 20, 96 << 20),
        (3 << 20, 66 << 20),
        (1 << 20, 65 << 20),
        ((1 << 20) - 1, None),
    ],
)
def test_a_map_grows_as_far_as_there_is_room(free: int, expected: int | None) -> None:
    assert larger(64 << 20, lambda size: size <= free + SPARE) == expected


@pytest.mark.parametrize(
    ("free", "expected"), [(1 << 40, 1 << 30), (600 << 20, 512 << 20), (SPARE + (1 << 20), 1 << 20), (0, 1 << 20)]
)
def test_the_map_leaves_room_to_others(tmp_path, free: int, expected: int) -> None:
    taken = []

    def open_environment(path: str, *, map_size: int, **settings: object) -> lmdb.Environment:
        taken.append(map_size)
        return lmdb.open(path, map_size=map_size)

    open_largest(open_environment, tmp_path, 1 << 30, {}, lambda size: size <= free - taken[-1]).close()
    assert taken[-1] == expected


def test_looking_for_room_leaves_the_map_alone(make_faulty, faults) -> None:
    engine = make_faulty(map_size=1 << 20, has_room=lambda size: False)
    engine.execute([Store(b"k", b"v")])
    with engine.snapshot() as snapshot:
        for _ in range(2):
            assert engine.execute([Store(b"large", b"x" * 3_000_000)])[0].problem is Problem.NO_SPACE
        assert len(list(snapshot.records())) == 1
    assert "set_mapsize" not in faults.calls
    assert engine.execute([Store(b"k", b"w")])[0].problem is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on address space that the system keeps")
def test_address_space_that_is_used_up(tmp_path) -> None:
    """The writer goes on, and so do the readers: `mdb_env_set_mapsize` alone would have left no map to either."""
    script = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from trio_spool.engine import Problem, Store, open_engine
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, resource.RLIM_INFINITY))
        with open_engine("lmdb", Path({str(tmp_path / "data")!r}), fsync="no") as engine:
            stored = 0
            while (outcome := engine.execute([Store(b"%d" % stored, b"x" * 4_000_000)])[0]).problem is None:
                stored += 1
            assert outcome.problem is Problem.NO_SPACE
            reader = engine.open_reader()
            assert len(reader.get(b"0").value) == 4_000_000
            reader.release()
            assert engine.execute([Store(b"small", b"x")])[0].problem is None
            assert engine.failure is None
            print(stored)
    """)
    stored = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    with open_engine("lmdb", tmp_path / "data") as engine:
        assert engine.statistics().items == stored + 1


@pytest.mark.parametrize("failing", [lmdb.Error("no"), OSError(errno.EIO, "no")])
def test_a_map_that_neither_grows_nor_opens_again_ends_the_engine(make_faulty, faults, failing: Exception) -> None:
    engine = make_faulty()
    reader = engine.open_reader()
    faults.add("commit", lmdb.MapFullError("full"))
    faults.add("set_mapsize", MemoryError())
    faults.add("open", failing)
    with pytest.raises(EngineFailedError, match=r"could not be opened again"):
        engine.execute([Store(b"k", b"v")])
    with pytest.raises(EngineClosedError):
        reader.get(b"k")
    with pytest.raises(EngineClosedError):
        engine.statistics()
