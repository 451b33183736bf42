"""What a restart, a crash, and each policy of syncing leave of what was acknowledged."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import lmdb
import pytest

from support.storage import wait_until
from trio_spool.engine import (
    Delete,
    EngineFailedError,
    EngineOptions,
    Flush,
    Get,
    Store,
    open_engine,
)
from trio_spool.engine.lmdb._engine import LmdbEngine


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
    assert faults.calls.count("sync") == 1
    engine.close()
    assert faults.calls.count("sync") == (1 if fsync == "always" else 2)  # the next start is to find nothing that might be lost


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


def test_a_sync_that_fails_is_not_tried_again(make_faulty, clock, faults) -> None:
    """A second one would succeed, and tell nothing: the system reports once that it has lost what it was to write."""
    engine = make_faulty(fsync="everysec", clock=clock, expiry_interval=0.01, sync_interval=0.0)
    before = faults.calls.count("sync")
    faults.add("sync", lmdb.DiskError("the disk is gone"))
    assert engine.execute([Store(b"a", b"v")])[0].problem is None
    wait_until(lambda: engine.failure is not None)
    with pytest.raises(EngineFailedError, match=r"could not be synced.*the disk is gone"):
        engine.execute([Store(b"b", b"v")])
    assert [key for key, _ in engine.entries()] == [b"a"]
    engine.close()
    assert faults.calls.count("sync") == before + 1
