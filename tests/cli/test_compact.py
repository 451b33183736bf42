"""Giving space back: the command ``compact``, and what is left if it is interrupted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from support.system_calls import system_calls
from trio_spool.cli import main
from trio_spool.cli._compact import _compact
from trio_spool.cli._errors import FileError
from trio_spool.engine import CopyError, DataDirectoryError, Delete, Remember, Store, compact_store, open_engine
from trio_spool.engine.lmdb._compacting import _contents_of_file

COUNT = 300


def fill(path: Path) -> None:
    """Make a database that is mostly empty."""
    with open_engine("lmdb", path, fsync="no", space_of=lambda key: key[:1]) as engine:
        engine.execute([Store(b"\0%04d" % number, bytes(1000)) for number in range(COUNT * 10)])
        engine.execute([Delete(b"\0%04d" % number) for number in range(COUNT, COUNT * 10)])
        engine.execute([Store(b"\0expiring", b"v", expiry=1 << 40), Remember(b"note", b"kept")])


@pytest.fixture
def data_dir(tmp_path) -> Path:
    path = tmp_path / "data"
    fill(path)
    fill(path / "buckets" / "one")
    return path


def contents(path: Path) -> dict[str, object]:
    with open_engine("lmdb", path, fsync="no", space_of=lambda key: key[:1]) as engine:
        with engine.snapshot() as snapshot:
            records = list(snapshot.records())
        return {
            "identity": engine.identity, "records": records, "seqno": engine.seqno, "spaces": dict(engine.spaces),
            "note": engine.recall(b"note"),
        }  # fmt: skip


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["compact", *arguments])


def size(path: Path) -> int:
    return (path / "data.mdb").stat().st_size


def test_what_is_not_needed_is_given_back(data_dir) -> None:
    paths = [data_dir, data_dir / "buckets" / "one"]
    before = [(size(path), contents(path)) for path in paths]
    result = run(str(data_dir), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["bucket"] for row in rows] == ["default", "one"]
    for path, row, (old_size, old) in zip(paths, rows, before, strict=True):
        assert (row["bytes_before"], row["bytes_after"], row["items"]) == (old_size, size(path), COUNT + 1)
        assert size(path) < old_size / 3
        assert contents(path) == old
        assert not (path / "data.mdb.compact").exists()
    # CAS values go on.
    with open_engine("lmdb", data_dir, fsync="no") as engine:
        (outcome,) = engine.execute([Store(b"\0new", b"v")])
        assert outcome.cas > max(record[5] for record in before[0][1]["records"])


def test_for_people(data_dir) -> None:
    result = run(str(data_dir), "--bucket", "one")
    assert result.exit_code == 0
    one = data_dir / "buckets" / "one"
    assert result.stdout.startswith(f"one: {size(one)} bytes, ")
    assert result.stdout.endswith(f" before; {COUNT + 1} items\n")
    assert size(data_dir) > 2 * size(one)


def test_twice(data_dir) -> None:
    run(str(data_dir))
    small = size(data_dir)
    assert run(str(data_dir)).exit_code == 0
    assert size(data_dir) <= small


def test_one_that_is_in_use(data_dir) -> None:
    before = size(data_dir)
    with open_engine("lmdb", data_dir):
        result = run(str(data_dir))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {data_dir} is in use by process {os.getpid()}; stop that one, or name another data directory\n"
    assert size(data_dir) == before


def test_what_is_no_data_directory(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        result = run(str(path))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"Error: {path} is not a data directory of trio-spool: it has no trio-spool.json; name another one\n"
        )
        with pytest.raises(DataDirectoryError, match="is not a data directory"):
            compact_store(path)
    assert os.listdir(tmp_path) == []


def test_no_such_bucket(data_dir) -> None:
    result = run(str(data_dir), "--bucket", "two")
    assert result.exit_code == 1
    assert result.stderr == f"Error: no bucket in {data_dir} is named 'two'; there are default, one\n"


def test_a_broken_bucket_does_not_keep_the_others(data_dir) -> None:
    (data_dir / "data.mdb").write_bytes(b"garbage" * 10_000)
    result = run(str(data_dir))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: can't open the database in {data_dir}: ")
    assert result.stdout.startswith("one: ")
    assert (data_dir / "data.mdb").read_bytes() == b"garbage" * 10_000


def test_remains_are_removed(data_dir) -> None:
    left = [data_dir / "buckets" / ".new-01", data_dir / "buckets" / ".deleted-01"]
    for path in left:
        shutil.copytree(data_dir / "buckets" / "one", path)
    (data_dir / "data.mdb.compact").write_bytes(b"half")
    assert run(str(data_dir)).exit_code == 0
    assert sorted(os.listdir(data_dir / "buckets")) == ["one"]
    assert not (data_dir / "data.mdb.compact").exists()


def test_a_start_removes_half_a_copy(data_dir) -> None:
    (data_dir / "data.mdb.compact").write_bytes(b"half")
    open_engine("lmdb", data_dir).close()
    assert not (data_dir / "data.mdb.compact").exists()


def test_it_is_interrupted(data_dir) -> None:
    before = size(data_dir), contents(data_dir)

    def interrupt(done: int, total: int) -> None:
        assert 0 < done <= total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact_store(data_dir, progress=interrupt)
    assert not (data_dir / "data.mdb.compact").exists()
    assert (size(data_dir), contents(data_dir)) == before


def test_a_full_disk(data_dir) -> None:
    """As far as a limit of the size of files is one."""
    script = """
import resource, signal, sys
from trio_spool.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    main(sys.argv[1:])
finally:  # a recorder of coverage writes at the end
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
    before = size(data_dir), contents(data_dir)
    command = [sys.executable, "-c", script, "compact", str(data_dir), "--bucket", "default"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert finished.stderr == f"Error: can't compact {data_dir}: file too large; nothing has changed\n"
    assert not (data_dir / "data.mdb.compact").exists()
    assert (size(data_dir), contents(data_dir)) == before


# Compacts in a child for each point at which it can die: before each call of the system or of LMDB.
SCRIPT = """
import os, shutil, sys, threading
from pathlib import Path
from trio_spool.engine import compact_store, open_engine

base, data = Path(sys.argv[1]), Path(sys.argv[2])

POINTS = {
    "open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "truncate", "fchmod",
    "commit", "sync", "copyfd",
}


def is_point(function):
    return getattr(function, "__name__", None) in POINTS


def child(last):
    passed = 0

    def profile(frame, event, function):
        nonlocal passed
        if event == "c_call" and is_point(function):
            passed += 1
            if passed == last:
                os._exit(77)

    threading.setprofile(profile)
    sys.setprofile(profile)
    compact_store(data)
    sys.setprofile(None)
    os._exit(0)


def seen():
    with open_engine("lmdb", data, fsync="no", create=False) as engine, engine.snapshot() as snapshot:
        return list(snapshot.records()), engine.seqno


shutil.copytree(base, data)
expected, old_size = seen(), (base / "data.mdb").stat().st_size
point, done, sizes = 0, False, []
while not done:
    point += 1
    shutil.rmtree(data)
    shutil.copytree(base, data)
    process = os.fork()
    if process == 0:
        try:
            child(point)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, 77), (point, code)
    done = code == 0
    assert seen() == expected, point
    assert sorted(os.listdir(data)) == ["data.mdb", "lock.mdb", "trio-spool.json", "trio-spool.lock"], point
    sizes.append((data / "data.mdb").stat().st_size)
# The old file, up to some point, and from there on the new one.
assert sorted(sizes, reverse=True) == sizes and sizes[0] == old_size and sizes[-1] < old_size / 3
print(point)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that begin in the middle")
def test_the_process_dies_at_any_point(data_dir, memory_directory) -> None:
    command = [sys.executable, "-c", SCRIPT, str(data_dir / "buckets" / "one"), str(memory_directory / "copy")]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert finished.returncode == 0
    assert int(finished.stdout) > 20


def test_a_copy_that_differs_is_not_used(data_dir) -> None:
    before = size(data_dir), contents(data_dir)
    with pytest.raises(CopyError, match="is not what was copied; check the disk and the memory of this machine"):
        compact_store(data_dir, read_copy=lambda copy: {**_contents_of_file(copy), "items": 1})
    assert not (data_dir / "data.mdb.compact").exists()
    assert (size(data_dir), contents(data_dir)) == before


def test_another_process_was_faster(data_dir) -> None:
    """Between closing the database and locking the directory again, somebody has used it."""

    def use(copy: Path) -> dict[str, object]:
        with open_engine("lmdb", data_dir, fsync="no") as engine:
            engine.execute([Store(b"\0new", b"v")])
        return {}

    def use_later(copy: Path) -> dict[str, object]:
        found = _contents_of_file(copy)
        use(copy)
        return found

    def use_before(copy: Path) -> dict[str, object]:
        use(copy)
        return _contents_of_file(copy)

    with pytest.raises(DataDirectoryError, match="was used by another process meanwhile; stop that one, and compact again"):
        compact_store(data_dir, read_copy=use_later)
    with pytest.raises(CopyError, match=r"data.mdb.compact does not open: .*; compact again, with no server on the directory"):
        compact_store(data_dir, read_copy=use_before)  # a start has removed the copy
    assert not (data_dir / "data.mdb.compact").exists()
    with open_engine("lmdb", data_dir, fsync="no") as engine:
        assert engine.open_reader().get(b"\0new") is not None


def test_a_bucket_is_not_compacted_below_a_server(data_dir) -> None:
    with open_engine("lmdb", data_dir), pytest.raises(FileError, match=f"{data_dir} is in use by process {os.getpid()}"):
        _compact(data_dir, "one", allow_network=False, quiet=True)


def test_the_copy_is_on_disk_before_it_is_the_database(data_dir) -> None:
    with system_calls() as called:
        compact_store(data_dir)
    position = called.index("replace")
    assert "fsync" in called[:position]
    assert called[position:] == ["replace", "open", "fsync"]
    assert not (data_dir / "lock.mdb").exists()  # that of the old file


def test_it_keeps_its_owner_and_permissions(data_dir) -> None:
    database = data_dir / "data.mdb"
    database.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(database, 1234, 1234)
    compact_store(data_dir)
    status = database.stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_uid == (1234 if os.geteuid() == 0 else os.geteuid())
