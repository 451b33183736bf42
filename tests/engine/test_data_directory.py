"""Data directories: which ones are used, marked and locked, and which are refused."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import textwrap
from functools import partial

import lmdb
import pytest

from support.system_calls import system_calls
from trio_spool._files import FileLock
from trio_spool.engine import (
    DataDirectoryError,
    EngineOptions,
    NoSpaceError,
    UnfinishedDirectoryError,
    claim_directory,
    open_engine,
)
from trio_spool.engine._directory import DirectoryLock, begin_directory, finish_directory, refuse_network
from trio_spool.engine.lmdb._engine import LmdbEngine


def test_directory_is_made(tmp_path) -> None:
    path = tmp_path / "deep" / "er"
    open_engine("lmdb", path).close()
    marker = json.loads((path / "trio-spool.json").read_text())
    assert (marker["format"], marker["engine"]) == (3, "lmdb")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"format": 4, "engine": "lmdb", "uuid": "x"}', "newer version .*upgrade trio-spool"),
        (
            '{"format": 1, "engine": "lmdb", "uuid": "x"}',
            r"older version \(format 1; .* reads 2 and later\); dump it with that version",
        ),
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


def test_a_lock_file_that_was_removed_lets_nobody_in(tmp_path) -> None:
    """Somebody tidied up: a second server makes another file of that name, and could lock that."""
    engine = open_engine("lmdb", tmp_path)
    (tmp_path / "trio-spool.lock").unlink()
    for _ in range(2):
        with pytest.raises(DataDirectoryError, match=f"{tmp_path} is in use by another process; stop that one"):
            open_engine("lmdb", tmp_path)
    engine.close()
    open_engine("lmdb", tmp_path).close()


@pytest.mark.parametrize(
    ("content", "holder"),
    [
        ("17", "process 17"),  # as older versions wrote it
        (f"17 {os.uname().nodename}\n", "process 17"),
        ("1 0123456789ab\n", "process 1 on '0123456789ab'"),
        ("", "another process"),
        ("x y z", "another process"),
        ("\x1b[31m", "another process"),
        ("1 \x1b[31m", r"process 1 on '\\x1b\[31m'"),
    ],
)
def test_who_uses_a_directory(tmp_path, content: str, holder: str) -> None:
    """Two containers have processes of the same number."""
    engine = open_engine("lmdb", tmp_path)
    (tmp_path / "trio-spool.lock").write_text(content)
    with pytest.raises(DataDirectoryError, match=f"is in use by {holder}; stop that one, or name another data directory"):
        open_engine("lmdb", tmp_path)
    engine.close()


def test_a_directory_of_another_name_is_the_same_one(tmp_path) -> None:
    (tmp_path / "link").symlink_to("data")
    engine = open_engine("lmdb", tmp_path / "data")
    with pytest.raises(DataDirectoryError, match="is in use by process"):
        open_engine("lmdb", tmp_path / "link")
    engine.close()
    engine.close()
    open_engine("lmdb", tmp_path / "link").close()


def test_a_network_file_system_is_refused(tmp_path) -> None:
    with pytest.raises(
        DataDirectoryError, match=r"network file system \(nfs4\), .* or allow this one with --allow-network-storage"
    ):
        refuse_network(tmp_path, lambda path: "nfs4")
    refuse_network(tmp_path, lambda path: None)


@pytest.mark.parametrize("kind", ["nfs4", None])
@pytest.mark.parametrize("allow_network", [False, True])
def test_an_engine_looks_where_its_directory_is(tmp_path, kind: str | None, allow_network: bool) -> None:
    """Before anything is made there."""
    path = tmp_path / "deep" / "data"
    options = EngineOptions(directory=path, allow_network=allow_network)
    if kind is not None and not allow_network:
        with pytest.raises(DataDirectoryError, match="network file system"):
            LmdbEngine(options, find_network=lambda found: kind if found == path else None)
        assert not path.parent.exists()
    else:
        LmdbEngine(options, find_network=lambda found: kind).close()


def test_a_store_that_is_to_be_there(tmp_path) -> None:
    """What was never finished is not taken for a store."""
    (tmp_path / "trio-spool.lock").touch()
    (tmp_path / "trio-spool.json.new").touch()
    (tmp_path / "data.mdb").touch()
    with pytest.raises(UnfinishedDirectoryError, match="has no database: making it was interrupted"):
        open_engine("lmdb", tmp_path, create=False)
    open_engine("lmdb", tmp_path).close()
    open_engine("lmdb", tmp_path, create=False).close()


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


def test_a_directory_is_claimed_once(tmp_path) -> None:
    identity = claim_directory(tmp_path / "data", "lmdb")
    assert claim_directory(tmp_path / "data", "lmdb") == identity
    with pytest.raises(DataDirectoryError, match="belongs to the engine 'lmdb', not 'other'; choose that engine"):
        claim_directory(tmp_path / "data", "other")


def test_the_marker_is_on_disk_after_all_that_it_vouches_for(tmp_path) -> None:
    with system_calls() as called:
        begin_directory(tmp_path, "lmdb")
    assert called == ["mkdir", "fsync"]
    with system_calls() as called:
        finish_directory(tmp_path)
    # The name of the directory, the names in it, and then the marker.
    assert called == ["open", "fsync", "open", "fsync", "replace", "open", "fsync"]


def test_a_lock_that_can_not_be_opened(tmp_path) -> None:
    (tmp_path / "trio-spool.lock").mkdir()
    with pytest.raises(DataDirectoryError, match=r"can't write to the data directory .*: is a directory; check who owns it"):
        open_engine("lmdb", tmp_path)


def test_a_first_start_that_can_not_be_finished(make_faulty, faults, tmp_path) -> None:
    """Neither the lock nor the environment stays."""
    marker = tmp_path / "data" / "trio-spool.json"
    faults.hooks["sync"] = marker.with_name("trio-spool.json.new").unlink
    with pytest.raises(DataDirectoryError, match=r"can't write to the data directory .*: no such file or directory"):
        make_faulty()
    assert not marker.exists()
    faults.hooks.clear()
    for name in ("data.mdb", "lock.mdb"):
        (tmp_path / "data" / name).unlink()
    make_faulty()
    assert marker.exists()


def test_errors_that_are_not_of_the_database_are_left_alone(make_faulty, faults) -> None:
    faults.add("read", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make_faulty()
    make_faulty().close()
