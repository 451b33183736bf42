"""What fails below an engine: transactions, syncs, the map, the directory."""

from __future__ import annotations

import errno
import threading

import lmdb
import pytest

from trio_spool.engine import DataDirectoryError, Problem, Store, open_engine
from trio_spool.engine import _lmdb as module


@pytest.fixture
def expired(make_lmdb, options, clock):
    """An engine with an item that has expired and was not removed yet."""
    engine = make_lmdb(**options)
    engine.execute([Store(b"k", b"v", expiry=1005)])
    clock.now = 1005
    return engine


def failing(times: int, error: Exception, then):
    """Return a function that raises some times, and then does what another does."""

    def function(*arguments, **options):
        nonlocal times
        if times:
            times -= 1
            raise error
        return then(*arguments, **options)

    return function


def test_a_transaction_that_can_not_begin(engine, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_begin", failing(1, RuntimeError("no"), engine._begin))
        assert engine.execute([Store(b"a", b"v")])[0].problem is Problem.FAILED
        assert engine.execute([Store(b"b", b"v")])[0].problem is None
        patch.setattr(engine, "_begin", failing(1, RuntimeError("no"), engine._begin))
        assert engine.remove_expired() is False
    assert [key for key, _ in engine.entries()] == [b"b"]
    assert engine.writer_seconds > 0


@pytest.mark.parametrize("name", ["expired", "commit"])
def test_the_map_is_full_while_expired_items_are_removed(expired, monkeypatch, name: str) -> None:
    original = getattr(module._LmdbTransaction, name)
    monkeypatch.setattr(module._LmdbTransaction, name, failing(2, lmdb.MapFullError("full"), original))
    assert expired.remove_expired() is False
    statistics = expired.statistics()
    assert (statistics.items, statistics.expired, statistics.map_growths) == (0, 1, 2)
    assert expired.spaces == {}


def test_a_sync_that_fails_is_tried_again(make_lmdb, clock, monkeypatch) -> None:
    """The writer goes on: whoever asks it for something would wait for ever otherwise."""
    monkeypatch.setattr(module, "SYNC_INTERVAL", 0.0)
    engine = make_lmdb(fsync="everysec", clock=clock, expiry_interval=0.01)
    synced = threading.Event()

    class Environment:
        def __init__(self, env) -> None:
            self._env = env
            self._failures = 3

        def __getattr__(self, name):
            return getattr(self._env, name)

        def sync(self, force) -> None:
            if self._failures:
                self._failures -= 1
                raise lmdb.DiskError("the disk is gone")
            self._env.sync(force)
            synced.set()

    engine.env = Environment(engine.env)
    engine.execute([Store(b"a", b"v")])
    assert synced.wait(20)
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


@pytest.mark.parametrize("error", [MemoryError(), OverflowError(), lmdb.MemoryError("x"), lmdb.Error("no memory")])
def test_the_map_that_is_reserved_gets_smaller(tmp_path, monkeypatch, error: Exception) -> None:
    if type(error) is lmdb.Error:
        error.code = errno.ENOMEM
    monkeypatch.setattr(lmdb, "open", failing(3, error, lmdb.open))
    with open_engine("lmdb", tmp_path, fsync="no", map_size=1 << 26) as engine:
        assert engine.statistics().map_bytes == 1 << 23


def test_there_is_no_room_for_any_map(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lmdb, "open", failing(100, MemoryError(), lmdb.open))
    with pytest.raises(MemoryError):
        open_engine("lmdb", tmp_path, map_size=1 << 22)
    error = lmdb.Error("no memory")
    error.code = errno.ENOMEM
    monkeypatch.setattr(lmdb, "open", failing(100, error, lmdb.open))
    with pytest.raises(DataDirectoryError, match="can't open the database"):
        open_engine("lmdb", tmp_path, map_size=1 << 22)


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
