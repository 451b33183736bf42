"""Crashes of the machine, by each policy: what was promised is there, and what is not whole is not served."""

from __future__ import annotations

import errno
import logging
import shutil
from itertools import islice
from pathlib import Path

import pytest

from support.power_loss import Recorder, contents_of, open_at, record
from trio_spool.engine import MARKER, DataDirectoryError, EngineOptions, Get, Problem, Store
from trio_spool.engine._errors import DeviceError, NoSpaceError
from trio_spool.engine.lmdb import _power, _session, _storage
from trio_spool.engine.lmdb._engine import LmdbEngine
from trio_spool.engine.lmdb._session import SESSION, Session, boot_id, read_session
from trio_spool.engine.lmdb._transaction import LmdbTransaction


def crashes_of(tmp_path, fsync: str, commits: int, seeds):
    """Yield the directory of each crash, the crash, and what there was at each sequence number."""
    path = tmp_path / "used"
    recorder, models = record(path, fsync, commits, seed=commits)
    marker = (path / MARKER).read_bytes()
    began = next(number for number, event in enumerate(recorder.events) if event is not None and event[0] == "seqno")
    for seed in seeds:
        for number, crash in enumerate(islice(recorder.crashes(seed), began, None)):
            if number % 3 == seed % 3:
                crashed = tmp_path / "crashed"
                crash.put(crashed, marker)
                yield crashed, crash, models
                shutil.rmtree(crashed)


def try_crashes(tmp_path, fsync: str, commits: int, seeds) -> int:
    """Open every state that a crash may leave, and return how many there were."""
    count = 0
    for crashed, crash, models in crashes_of(tmp_path, fsync, commits, seeds):
        engine = open_at(crashed, fsync, "second")
        try:
            found = contents_of(engine)
            assert found == models[engine.seqno]
            assert engine.seqno >= crash.synced
            engine.execute([Store(b"new", b"v")])
            assert contents_of(engine) == {**found, b"new": b"v"}
        finally:
            engine.close()
        count += 1
    return count


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_what_was_promised_is_there(tmp_path, fsync: str) -> None:
    logging.disable(logging.WARNING)  # each start says that the machine has crashed
    try:
        assert try_crashes(tmp_path, fsync, 12, range(2)) > 100
    finally:
        logging.disable(logging.NOTSET)


def test_without_a_checkpoint_most_of_it_is_damaged(tmp_path) -> None:
    """So the states that are tried are such as need it."""
    damaged = count = 0
    for crashed, crash, models in crashes_of(tmp_path, "everysec", 12, range(1)):
        (crashed / SESSION).unlink()
        count += 1
        try:
            engine = open_at(crashed, "always", "second")
            try:
                whole = contents_of(engine) == models.get(engine.seqno)
            finally:
                engine.close()
        except Exception:
            whole = False
        damaged += not whole
        if damaged > 3:
            return
    raise AssertionError(f"{damaged} of {count}")


@pytest.fixture
def unclean(tmp_path):
    """A directory whose process was killed."""

    def make(fsync: str):
        path = tmp_path / "data"
        engine = open_at(path, fsync, "first")
        engine.execute([Store(b"k", b"v")])
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        engine.close()
        return copy

    return make


def test_without_syncs_a_crash_is_refused(unclean) -> None:
    path = unclean("no")
    for fsync in ("no", "everysec", "always"):
        with pytest.raises(
            DataDirectoryError, match=r"the machine crashed while .* was used with --fsync no.*check --accept"
        ) as caught:
            open_at(path, fsync, "second")
        assert "\n" not in str(caught.value)
    open_at(path, "no", "first").close()  # only the process was killed
    open_at(path, "no", "second").close()


@pytest.mark.parametrize("fsync", ["no", "everysec"])
@pytest.mark.parametrize("later", ["no", "everysec", "always"])
def test_a_process_that_was_killed_loses_nothing(unclean, fsync: str, later: str) -> None:
    path = unclean(fsync)
    engine = open_at(path, later, "first")
    assert contents_of(engine) == {b"k": b"v"}
    engine.close()
    assert not (path / SESSION).exists()
    engine = open_at(path, "no", "second")
    assert contents_of(engine) == {b"k": b"v"}
    engine.close()


def test_a_system_without_boots_is_trusted(unclean) -> None:
    open_at(unclean("no"), "no", None).close()


@pytest.mark.parametrize("later", ["no", "everysec", "always"])
def test_the_last_sync_is_what_a_crash_leaves(unclean, later: str, caplog) -> None:
    path = unclean("everysec")
    engine = open_at(path, later, "second")
    assert contents_of(engine) == {}  # it was not synced
    engine.close()
    (line,) = [each.getMessage() for each in caplog.records]
    assert "the machine crashed while" in line and "what was written after 20" in line


@pytest.mark.parametrize("fsync", ["no", "everysec"])
def test_what_was_closed_is_clean(tmp_path, fsync: str) -> None:
    engine = open_at(tmp_path, fsync, "first")
    engine.execute([Store(b"k", b"v")])
    assert read_session(tmp_path).fsync == fsync
    engine.close()
    assert not (tmp_path / SESSION).exists()
    engine = open_at(tmp_path, "always", "second")
    assert not (tmp_path / SESSION).exists()
    assert contents_of(engine) == {b"k": b"v"}
    engine.close()


def test_another_database_in_its_place_is_left_alone(unclean, tmp_path) -> None:
    path = unclean("everysec")
    other = open_at(tmp_path / "other", "always", "first")
    other.execute([Store(b"k%d" % number, b"x" * 5000) for number in range(50)])
    other.close()
    content = (tmp_path / "other" / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(DataDirectoryError, match=r"is not the database that trio-spool\.session belongs to"):
        open_at(path, "everysec", "second")
    assert (path / "data.mdb").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"session": "{}", "crc32c": 1}', b"\xff"])
def test_a_session_that_is_damaged(unclean, content: bytes) -> None:
    path = unclean("no")
    (path / SESSION).write_bytes(content)
    with pytest.raises(DataDirectoryError, match=r"trio-spool\.session is damaged"):
        open_at(path, "no", "first")


def test_this_boot_has_a_name() -> None:
    assert boot_id()
    assert boot_id() == boot_id()


def test_growing_keeps_what_was_synced(tmp_path) -> None:
    """Growing the map ends the transaction that protects the checkpoint: there is another one before anything is written."""
    path = tmp_path / "data"
    recorder = Recorder(path, durable=False)
    engine = LmdbEngine(
        EngineOptions(directory=path, fsync="everysec", expiry_interval=3600, map_size=1 << 20),
        open_environment=recorder.open_environment, sync_interval=3600, read_boot=lambda: "first",
    )  # fmt: skip
    models = {0: {}}
    for number in range(60):
        engine.execute([Store(b"k%03d" % (number % 7), bytes([number]) * 60_000)])
        recorder.events.append(("seqno", engine.seqno))
        models[engine.seqno] = contents_of(engine)
    assert engine.storage.map_growths
    events, marker = list(recorder.events), (path / MARKER).read_bytes()
    engine.close()
    recorder.events = events
    count = 0
    for crash in islice(recorder.crashes(1), len(events) // 2, None, 29):
        crash.put(tmp_path / "crashed", marker)
        engine = open_at(tmp_path / "crashed", "always", "second")
        assert contents_of(engine) == models[engine.seqno]
        engine.close()
        shutil.rmtree(tmp_path / "crashed")
        count += 1
    assert count > 10


def test_no_room_for_the_note_is_no_space(tmp_path, monkeypatch) -> None:
    engine = open_at(tmp_path, "everysec", "first")
    engine.execute([Store(b"k", b"v")])
    full = Path(tmp_path, SESSION + ".new")

    def refuse(self, path: Path) -> None:
        raise OSError(errno.ENOSPC, "full", str(full))

    monkeypatch.setattr(Session, "write", refuse)
    before = read_session(tmp_path)
    engine.storage._sync_interval = 0
    assert engine.execute([Store(b"k", b"w")])[0].problem is None  # the checkpoint before still holds
    assert engine.execute([Store(b"k", b"x")])[0].problem is None
    assert read_session(tmp_path) == before
    with engine.storage.nobody_reading():
        pass
    assert engine.execute([Store(b"k", b"y")])[0].problem is Problem.NO_SPACE  # nothing would keep it
    monkeypatch.undo()
    assert engine.execute([Store(b"k", b"z")])[0].problem is None
    assert read_session(tmp_path).checkpoint.transaction > before.checkpoint.transaction
    engine.close()


@pytest.fixture
def fill_disk(monkeypatch):
    """Return a function that leaves no room for a new file, as on a disk that is full to the last byte."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    return lambda: monkeypatch.setattr(_session, "open_replacement", refuse)


@pytest.mark.parametrize("fsync", ["no", "everysec"])
@pytest.mark.parametrize("later", ["no", "everysec", "always"])
def test_a_full_disk_lets_a_killed_server_start_again(unclean, fill_disk, fsync: str, later: str) -> None:
    path = unclean(fsync)
    fill_disk()
    engine = open_at(path, later, "first")
    assert contents_of(engine) == {b"k": b"v"}
    if later != "always":
        assert read_session(path).fsync == later
    engine.close()
    assert not (path / SESSION).exists()


def test_a_note_on_a_full_disk_leaves_the_one_before_whole(unclean, fill_disk) -> None:
    """Whichever bytes of it a crash leaves, the session is one of both."""
    file = unclean("everysec") / SESSION
    fill_disk()
    notes = [read_session(file.parent)]
    for boot in ("second", "third", "fourth"):
        before = file.read_bytes()
        notes.append(Session("everysec", boot, notes[0].checkpoint))
        notes[-1].write(file.parent)
        assert read_session(file.parent) == notes[-1]
        after = file.read_bytes()
        assert len(after) == len(before)
        for cut in (4096, 4600, 8000, 512, 1000):
            torn = after[:cut] + before[cut:]
            file.write_bytes(torn)
            assert read_session(file.parent) in notes[-2:]
        file.write_bytes(after)


def test_a_note_on_a_full_disk_that_is_not_synced_is_a_failed_sync(unclean, fill_disk, monkeypatch) -> None:
    path = unclean("everysec")
    fill_disk()

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_session.os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        Session("no", "first").write(path)


@pytest.mark.parametrize("error", [DeviceError, NoSpaceError])  # of a write that was cut off, and of one that was refused
def test_a_checkpoint_makes_room_on_a_full_disk(tmp_path, monkeypatch, error: type[Exception]) -> None:
    """What was freed since the last checkpoint is used at once, not after up to a second of refusals."""
    engine = open_at(tmp_path, "everysec", "first")
    monkeypatch.setattr(_storage, "disk_has_room", lambda *arguments: False)
    commit, refusals = LmdbTransaction.commit, [0]

    def commit_if_there_is_room(self, *arguments, **options):
        if refusals.pop():
            raise error("no space")
        return commit(self, *arguments, **options)

    monkeypatch.setattr(LmdbTransaction, "commit", commit_if_there_is_room)
    assert engine.execute([Store(b"k", b"w")])[0].problem is None
    before = read_session(tmp_path).checkpoint.transaction
    refusals[:] = [0, 1]
    assert engine.execute([Store(b"k", b"x")])[0].problem is None
    assert read_session(tmp_path).checkpoint.transaction > before
    refusals[:] = [1, 1, 1]
    assert engine.execute([Store(b"k", b"y")])[0].problem is Problem.NO_SPACE
    monkeypatch.undo()
    engine.close()


def test_much_that_is_written_is_synced_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_power, "MAX_GROWTH", 1 << 20)
    engine = open_at(tmp_path, "everysec", "first")
    before = read_session(tmp_path).checkpoint.transaction
    engine.execute([Store(b"a", bytes(100_000))])
    engine.execute([Get(b"a")])
    assert read_session(tmp_path).checkpoint.transaction == before
    engine.execute([Store(b"b%d" % number, bytes(100_000)) for number in range(11)])
    engine.execute([Get(b"a")])
    assert read_session(tmp_path).checkpoint.transaction > before
    engine.close()
