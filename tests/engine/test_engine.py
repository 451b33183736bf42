"""Engines: the writer thread, snapshots, expiry, restarts, and what can go wrong."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import lmdb
import pytest

from support.storage import PATIENCE, wait_until, writer_held
from trio_spool._files import FileLock
from trio_spool.engine import (
    Concat,
    DataDirectoryError,
    Delete,
    EngineClosedError,
    EngineOptions,
    Flush,
    Get,
    Item,
    NoSpaceError,
    Problem,
    Snapshot,
    SnapshotEndedError,
    StorageError,
    Store,
    TooManySnapshotsError,
    Touch,
    open_engine,
)
from trio_spool.engine._directory import DirectoryLock
from trio_spool.engine._snapshots import SnapshotRegistry
from trio_spool.engine.lmdb._engine import LmdbEngine


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
    reader.release()
    engine.execute([Flush(1001)])
    clock.now = 1002.0
    assert reader.get_many(keys[2:4], 10_000) == [None, None]


def test_snapshot_is_of_one_moment(make) -> None:
    engine = make()
    engine.execute([Store(b"%03d" % n, b"old") for n in range(1000)])
    with engine.snapshot() as snapshot:
        items = items_of(snapshot)
        first = next(items)
        engine.execute([Store(b"%03d" % n, b"new") for n in range(1000)] + [Delete(b"500"), Store(b"zzz", b"new")])
        assert [first, *items] == list(items_of(snapshot))
        assert len(list(items_of(snapshot))) == 1000
        assert all(item.value == b"old" for _, item in items_of(snapshot))
        assert [key for key, *_ in snapshot.records(b"100", b"103")] == [b"100", b"101", b"102"]
        assert snapshot.seqno == 1000
        assert engine.statistics().snapshots == 1
    assert engine.statistics().snapshots == 0


def test_snapshot_of_keys_only(make) -> None:
    engine = make()
    engine.execute([Store(b"%03d" % n, b"value") for n in range(1000)])
    with engine.snapshot(keys_only=True) as snapshot:
        records = list(snapshot.records(b"100", b"900"))
        assert [key for key, *_ in records] == [b"%03d" % n for n in range(100, 900)]
        assert all(type(key) is bytes and not value for key, value, *_ in records)


@pytest.mark.parametrize("keys_only", [False, True])
def test_snapshot_leaves_out_what_has_expired(make, clock, keys_only: bool) -> None:
    engine = make(clock=clock, expiry_interval=3600)
    engine.execute([Store(b"%d" % n, b"v", expiry=1005 * (n % 2)) for n in range(10)])
    before = engine.snapshot(keys_only=keys_only)
    clock.now = 1005.0
    with engine.snapshot(keys_only=keys_only) as after:
        assert [key for key, *_ in after.records()] == [b"%d" % n for n in range(0, 10, 2)]
    assert len(list(before.records())) == 10  # it is of the moment at which it was taken
    before.close()


def test_closed_snapshot_ends_its_generators(make) -> None:
    engine = make()
    engine.execute([Store(b"%04d" % n, b"v" * 1000) for n in range(3000)])
    snapshot = engine.snapshot()
    items = items_of(snapshot)
    next(items)
    snapshot.close()
    snapshot.close()
    with pytest.raises(SnapshotEndedError):
        list(items)


def test_snapshots_are_limited_in_number(make) -> None:
    engine = make(max_snapshots=2)
    first, _second = engine.snapshot(), engine.snapshot()
    with pytest.raises(TooManySnapshotsError, match="limit of 2 open snapshots"):
        engine.snapshot()
    first.close()
    engine.snapshot().close()


def test_snapshots_are_limited_in_time(make) -> None:
    engine = make(max_snapshot_life=0.01, expiry_interval=0.01)
    engine.execute([Store(b"k", b"v")])
    snapshot = engine.snapshot()
    wait_until(lambda: engine.statistics().snapshots_ended)
    with pytest.raises(SnapshotEndedError):
        list(items_of(snapshot))
    assert engine.statistics().snapshots_ended == 1
    assert engine.statistics().snapshots == 0


def test_registry_ends_what_is_old_and_nothing_else(clock) -> None:
    class Fake(Snapshot):
        seqno = count = 0

        def __init__(self) -> None:
            self.closed = False

        def read(self, *arguments, **options):
            raise NotImplementedError

        def close(self) -> None:
            self.closed = True
            registry.discard(self)

    registry = SnapshotRegistry(2, 10.0, clock)
    first = Fake()
    registry.add(first)
    clock.now += 5
    second = Fake()
    registry.add(second)
    with pytest.raises(TooManySnapshotsError, match="limit of 2 open snapshots"):
        registry.check_room()
    clock.now += 4.5
    registry.end_old()
    assert (first.closed, second.closed, len(registry), registry.ended) == (False, False, 2, 0)
    clock.now += 0.5
    registry.end_old()
    assert (first.closed, second.closed, len(registry), registry.ended) == (True, False, 1, 1)
    registry.check_room()
    registry.end_all()
    assert (second.closed, len(registry), registry.ended) == (True, 0, 1)


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
    wait_until(lambda: engine.statistics().items == 4)
    assert [key for key, _ in engine.entries()] == [b"1", b"2", b"later", b"stays"]
    assert engine.statistics().expired == 2497


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


# Durability


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_restart_keeps_everything(make_lmdb, fsync: str) -> None:
    engine = make_lmdb(fsync=fsync)
    before = engine.execute([Store(b"%d" % n, b"v%d" % n, n) for n in range(1000)] + [Delete(b"5")])[-1]
    identity = engine.identity
    engine.close()
    engine = make_lmdb(fsync=fsync)
    assert engine.identity == identity
    reader = engine.open_reader()
    assert reader.get(b"7")[:2] == (b"v7", 7)
    assert reader.get(b"5") is None
    reader.release()
    after = engine.execute([Store(b"new", b"v")])[0]
    assert after.seqno == before.seqno + 1
    assert after.cas > before.cas


def test_cas_goes_on_when_the_clock_is_set_back(make_lmdb, clock) -> None:
    engine = make_lmdb(clock=clock)
    (before,) = engine.execute([Store(b"k", b"v")])
    engine.close()
    clock.now = 5.0
    engine = make_lmdb(clock=clock)
    (after,) = engine.execute([Store(b"k", b"v")])
    assert after.cas > before.cas


def test_delayed_flush_survives_a_restart(make_lmdb, clock) -> None:
    engine = make_lmdb(clock=clock)
    engine.execute([Store(b"k", b"v"), Flush(1005)])
    engine.close()
    clock.now = 1006.0
    engine = make_lmdb(clock=clock)
    assert engine.open_reader().get(b"k") is None


def test_everysec_syncs(make_faulty, faults) -> None:
    engine = make_faulty(fsync="everysec", expiry_interval=0.01, sync_interval=0.0)
    before = faults.calls.count("sync")
    engine.execute([Store(b"k", b"v")])
    wait_until(lambda: faults.calls.count("sync") > before)


def test_everysec_syncs_only_what_was_committed(make_faulty, faults) -> None:
    engine = make_faulty(fsync="everysec", sync_interval=0.0)
    engine.execute([Store(b"k", b"v")])
    engine.execute([Get(b"k")])  # after the chores
    synced = faults.calls.count("sync")
    engine.execute([Get(b"k")])
    engine.execute([Get(b"k")])
    assert faults.calls.count("sync") == synced


def test_everysec_syncs_once_in_a_while_and_at_the_end(make_faulty, faults) -> None:
    engine = make_faulty(fsync="everysec", sync_interval=3600.0)
    before = faults.calls.count("sync")
    for _ in range(3):
        engine.execute([Store(b"k", b"v")])
    assert faults.calls.count("sync") == before
    engine.close()
    assert faults.calls.count("sync") == before + 1


@pytest.mark.parametrize("fsync", ["always", "no"])
def test_other_policies_leave_syncing_to_lmdb(make_faulty, faults, fsync: str) -> None:
    engine = make_faulty(fsync=fsync, sync_interval=0.0)
    assert faults.calls.count("sync") == 1  # before the directory is marked
    engine.execute([Store(b"k", b"v")])
    engine.close()
    assert faults.calls.count("sync") == 1


@pytest.mark.parametrize(("fsync", "synced"), [("always", True), ("everysec", False), ("no", False)])
def test_commits_are_synced_by_lmdb(tmp_path, fsync: str, synced: bool) -> None:
    given = {}

    def open_environment(path, **options):
        given.update(options)
        return lmdb.open(path, **options)

    LmdbEngine(EngineOptions(directory=tmp_path, fsync=fsync), open_environment=open_environment).close()
    assert (given["sync"], given["metasync"]) == (synced, synced)


def _writer(path: Path, fsync: str) -> str:
    return textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from trio_spool.engine import Store, open_engine
        engine = open_engine("lmdb", Path({str(path)!r}), fsync={fsync!r})
        number = 0
        while True:
            engine.execute([Store(b"%06d" % (number + n), b"v" * 50) for n in range(10)])
            number += 10
            print(number, flush=True)
    """)


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_kill_loses_nothing_acknowledged(tmp_path, fsync: str) -> None:
    path = tmp_path / "data"
    with subprocess.Popen([sys.executable, "-c", _writer(path, fsync)], stdout=subprocess.PIPE) as process:
        acknowledged = 0
        while acknowledged < 300:
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines():
            acknowledged = int(line)
    with open_engine("lmdb", path, fsync=fsync) as engine:
        keys = [key for key, _ in engine.entries()]
        assert len(keys) in (acknowledged, acknowledged + 10)
        assert keys == [b"%06d" % n for n in range(len(keys))]


# Room


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


def coded(error: Exception, code: int) -> Exception:
    error.code = code
    return error


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (lmdb.DiskError("x"), Problem.NO_SPACE),
        (lmdb.MemoryError("x"), Problem.NO_SPACE),
        (MemoryError(), Problem.NO_SPACE),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.ENOSPC)}"), Problem.NO_SPACE),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EFBIG)}"), Problem.NO_SPACE),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EDQUOT)}"), Problem.NO_SPACE),
        (coded(lmdb.Error("x"), errno.ENOSPC), Problem.NO_SPACE),
        (OSError(errno.ENOSPC, "full"), Problem.NO_SPACE),
        (OSError(errno.EIO, "pool"), Problem.NO_SPACE),
        (OSError(errno.EPERM, "no"), Problem.FAILED),
        (coded(lmdb.Error("x"), errno.EPERM), Problem.FAILED),
        (lmdb.CorruptedError("x"), Problem.FAILED),
        (RuntimeError("bug"), Problem.FAILED),
    ],
)
@pytest.mark.parametrize("point", ["begin", "commit"])
def test_errors_of_writing_are_told_apart(make_faulty, faults, error: Exception, problem: Problem, point: str) -> None:
    engine = make_faulty()
    faults.add(point, error)
    assert engine.execute([Store(b"k", b"v")])[0].problem is problem
    assert engine.open_reader().get(b"k") is None
    assert engine.execute([Store(b"k", b"v")])[0].problem is None


@pytest.mark.parametrize(("error", "expected"), [(lmdb.DiskError("x"), NoSpaceError), (lmdb.PageNotFoundError("x"), StorageError)])
def test_errors_of_reading_are_ours(make_faulty, faults, error: Exception, expected: type[Exception]) -> None:
    engine = make_faulty()
    engine.execute([Store(b"k", b"v")])
    reader = engine.open_reader()
    for read in (
        lambda: reader.get(b"k"),
        lambda: reader.get_many([b"k"], 100),
        engine.snapshot,
        lambda: list(engine.entries()),
        engine.statistics,
    ):
        faults.add("read", error)
        with pytest.raises(expected) as caught:
            read()
        assert type(caught.value) is expected
        assert caught.value.__cause__ is error
        reader.release()
    assert reader.get(b"k").value == b"v"


@pytest.mark.parametrize("point", ["cursor", "commit"])
def test_errors_while_removing_expired_items_are_survived(make_faulty, faults, clock, point: str) -> None:
    engine = make_faulty(clock=clock, expiry_interval=3600)
    engine.execute([Store(b"k", b"v", expiry=1001)])
    clock.now = 2000.0
    faults.add(point, lmdb.DiskError("x"))
    assert engine.writer.remove_expired() is False
    assert engine.statistics().items == 1
    assert engine.writer.remove_expired() is False
    assert engine.statistics().items == 0


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


# The data directory


def test_directory_is_made(tmp_path) -> None:
    path = tmp_path / "deep" / "er"
    open_engine("lmdb", path).close()
    marker = json.loads((path / "trio-spool.json").read_text())
    assert (marker["format"], marker["engine"]) == (2, "lmdb")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"format": 3, "engine": "lmdb", "uuid": "x"}', "newer version .*upgrade trio-spool"),
        ('{"format": 1, "engine": "lmdb", "uuid": "x"}', r"older version \(format 1; .* reads 2\); dump it with that version"),
        ('{"format": 2, "engine": "other", "uuid": "x"}', "belongs to the engine 'other'"),
        ("not json", "is not what trio-spool writes"),
        ('{"format": 1}', "is not what trio-spool writes"),
        ('{"format": "1", "engine": "lmdb", "uuid": "x"}', "is not what trio-spool writes"),
        ("[]", "is not what trio-spool writes"),
    ],
)
def test_marker(tmp_path, marker: str, message: str) -> None:
    (tmp_path / "trio-spool.json").write_text(marker)
    with pytest.raises(DataDirectoryError, match=message):
        open_engine("lmdb", tmp_path)


def test_foreign_directory(tmp_path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(DataDirectoryError, match="not empty"):
        open_engine("lmdb", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_not_a_directory(tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for path in (file, file / "below"):
        with pytest.raises(DataDirectoryError, match="is not a directory"):
            open_engine("lmdb", path)


def test_a_directory_has_one_engine_at_a_time(tmp_path) -> None:
    """Two would give the same CAS twice, and each would count what only it had stored."""
    engine = open_engine("lmdb", tmp_path)
    with pytest.raises(DataDirectoryError, match=f"{tmp_path} is in use by process {os.getpid()}; stop that one"):
        open_engine("lmdb", tmp_path)
    engine.close()
    engine.close()
    open_engine("lmdb", tmp_path).close()


def test_a_directory_is_free_after_its_process_was_killed(tmp_path) -> None:
    script = f"""
from pathlib import Path
from trio_spool.engine import open_engine
engine = open_engine("lmdb", Path({str(tmp_path)!r}))
print("open", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(DataDirectoryError, match=f"in use by process {process.pid}"):
            open_engine("lmdb", tmp_path)
        process.kill()
    open_engine("lmdb", tmp_path).close()


def test_a_directory_that_can_not_be_locked(tmp_path) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with pytest.raises(DataDirectoryError, match=f"can't lock the data directory .*: {os.strerror(errno.ENOLCK).lower()}"):
        DirectoryLock(tmp_path, open_lock=partial(FileLock, flock=refuse))


def test_a_directory_is_free_after_the_last_sync_failed(make_faulty, faults, tmp_path) -> None:
    engine = make_faulty(fsync="everysec")
    faults.add("sync", lmdb.DiskError("no space"))
    with pytest.raises(NoSpaceError, match="there is no room for the database: no space"):
        engine.close()
    open_engine("lmdb", tmp_path / "data").close()
    engine.close()


def test_a_process_id_that_can_not_be_written_matters_to_nobody(tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as if the disk were full
    try:
        lock = DirectoryLock(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(DataDirectoryError, match="in use by another process"):
        open_engine("lmdb", tmp_path)
    lock.release()
    open_engine("lmdb", tmp_path).close()


def test_a_directory_is_free_after_it_could_not_be_opened(tmp_path) -> None:
    open_engine("lmdb", tmp_path).close()
    data = (tmp_path / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(DataDirectoryError, match="can't open the database"):
        open_engine("lmdb", tmp_path)
    (tmp_path / "data.mdb").write_bytes(data)
    open_engine("lmdb", tmp_path).close()


def test_corrupt_database(tmp_path) -> None:
    open_engine("lmdb", tmp_path).close()
    (tmp_path / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(DataDirectoryError, match="can't open the database"):
        open_engine("lmdb", tmp_path)


def test_read_only_directory() -> None:
    script = textwrap.dedent("""
        import os, tempfile
        from pathlib import Path
        import lmdb
        from trio_spool.engine import DataDirectoryError, open_engine
        base = Path(tempfile.mkdtemp())
        base.chmod(0o777)
        empty, used = base / "empty", base / "used"
        empty.mkdir()
        open_engine("lmdb", used).close()
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        empty.chmod(0o555) if os.stat(empty).st_uid == os.geteuid() else None
        used.chmod(0o555) if os.stat(used).st_uid == os.geteuid() else None
        for path in (empty, used):
            try:
                open_engine("lmdb", path)
            except DataDirectoryError as exc:
                assert str(path) in str(exc) and "permissions" in str(exc), exc
            else:
                raise AssertionError(path)
        try:
            open_engine("lmdb", Path("/proc/nothing"))
        except DataDirectoryError as exc:
            assert "check who owns it" in str(exc)
    """)
    subprocess.run([sys.executable, "-c", script], check=True, cwd="/")


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
