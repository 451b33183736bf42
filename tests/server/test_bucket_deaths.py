"""Buckets that are made and deleted, while the process dies or the system refuses a call at any point of it.

What was answered holds after a restart, and nothing else is there: no half a bucket, and nothing that is left behind.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trio_spool.engine
from support.system_calls import system_calls
from trio_spool.engine import EngineError, Store
from trio_spool.server import Settings
from trio_spool.server.data import Buckets

KEY = b"\0k"

# Opens the buckets, makes one, writes to it, and deletes another, in a child for each point at which it can die: before each call of
# the system or of LMDB. Prints what was answered before, and what is there after a restart.
SCRIPT = """
import json, os, shutil, sys, threading
from pathlib import Path
from trio_spool.engine import Store
from trio_spool.server import Settings
from trio_spool.server.data import Buckets

base, data = Path(sys.argv[1]), Path(sys.argv[2])
KEY = b"\\0k"

POINTS = {
    "open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "truncate", "fchmod",
    "commit", "sync", "copyfd",
}


def is_point(function):
    return getattr(function, "__name__", None) in POINTS


def child(last, answers):
    passed = 0

    def profile(frame, event, function):
        nonlocal passed
        if event == "c_call" and is_point(function):
            passed += 1
            if passed == last:
                os._exit(77)

    threading.setprofile(profile)
    sys.setprofile(profile)
    buckets = Buckets(Settings(data_dir=data, fsync="no"), lambda function: function())
    buckets.open_all_in_thread()
    os.write(answers, b"o")
    two = buckets.create_in_thread("two")
    os.write(answers, b"c")
    two.engine.execute([Store(KEY, b"two")])
    os.write(answers, b"s")
    buckets.delete_in_thread(buckets._buckets.pop("one"))
    os.write(answers, b"d")
    sys.setprofile(None)
    os._exit(0)


def restart():
    buckets = Buckets(Settings(data_dir=data, fsync="no"), lambda function: function())
    try:
        buckets.open_all_in_thread()
        names = {bucket.name: bool(bucket.reader.get(KEY)) for bucket in buckets}
        for bucket in buckets:
            bucket.reader.release()
        if "two" not in names:
            buckets.create_in_thread("two").engine.close()
        return {"names": names, "broken": dict(buckets.broken), "left": sorted(os.listdir(data / "buckets"))}
    finally:
        buckets.close_all_in_thread()


point = status = 0
while status != 1:
    point += 1
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(base, data)
    readable, writable = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            child(point, writable)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(1)
    os.close(writable)
    status = {77: 0, 0: 1}.get(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), 2)
    answered = os.read(readable, 10).decode()
    os.close(readable)
    if status == 2:
        sys.exit(f"the child failed at point {point}")
    print(json.dumps({"point": point, "answered": answered, **restart()}))
"""


def open_buckets(data_dir: Path) -> Buckets:
    buckets = Buckets(Settings(data_dir=data_dir, fsync="no"), lambda function: function())
    buckets.open_all_in_thread()
    return buckets


@pytest.fixture
def base(memory_directory) -> Path:
    """A data directory with a bucket that has an item, and with what earlier deaths have left behind."""
    path = memory_directory / "base"
    buckets = open_buckets(path)
    buckets.create_in_thread("one").engine.close()
    buckets.close_all_in_thread()
    buckets = open_buckets(path)
    buckets.get("one").engine.execute([Store(KEY, b"one")])
    buckets.close_all_in_thread()
    for name in (".new-0123", ".deleted-4567"):
        shutil.copytree(path / "buckets" / "one", path / "buckets" / name)
    return path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that begin in the middle")
def test_the_process_dies_at_any_point(base, memory_directory) -> None:

    command = [sys.executable, "-c", SCRIPT, str(base), str(memory_directory / "data")]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert finished.returncode == 0
    results = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(results) > 60
    assert {result["answered"] for result in results} == {"", "o", "oc", "ocs", "ocsd"}
    for result in results:
        answered, names = result["answered"], result["names"]
        assert result["broken"] == {}, result
        assert names["default"] is False, result
        assert result["left"] == sorted({*names, "two"} - {"default"}), result
        if "c" in answered:
            assert "two" in names, result
        if "s" in answered:
            assert names["two"] is True, result
        if "d" in answered:
            assert "one" not in names, result
        if "s" not in answered:
            assert names["one"] is True, result
        assert names.get("one", True) is True, result  # whole, or not there


def test_a_bucket_is_on_disk_before_it_has_its_name_and_the_name_before_it_is_answered(base) -> None:
    """A crash of the machine leaves no half a bucket."""
    buckets = open_buckets(base)
    with system_calls() as called:
        bucket = buckets.create_in_thread("two")
    last = called.index("rename")
    assert called[last - 2 : last + 3] == ["open", "fsync", "rename", "open", "fsync"]
    with system_calls() as called:
        buckets.delete_in_thread(bucket)
    first = called.index("rename")
    assert called[first : first + 3] == ["rename", "open", "fsync"]
    assert "unlink" in called[first + 3 :]  # what was left to remove
    buckets.close_all_in_thread()


class Recorded(Exception):
    """An engine was asked for."""


def test_what_engines_are_told(tmp_path) -> None:
    seen = {}

    def open_engine(*arguments, **options):
        seen.update(options)
        raise Recorded

    settings = Settings(data_dir=tmp_path, allow_network_storage=True, max_held_size=12345, max_scans=7)
    with pytest.raises(Recorded):
        Buckets(settings, lambda function: function(), open_engine=open_engine).open_all_in_thread()
    assert (seen["allow_network"], seen["max_held_size"], seen["max_snapshots"]) == (True, 12345, 7)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), MemoryError()])
def test_there_is_no_descriptor_or_memory_for_one(base, error: Exception) -> None:
    """The others are served, and one that can't be opened after it was made is not there."""
    open_engine = trio_spool.engine.open_engine
    refused = "one"

    def open_one(engine, path, **options):
        if path.name == refused and not options["create"]:
            raise error
        return open_engine(engine, path, **options)

    def restart() -> Buckets:
        buckets = Buckets(Settings(data_dir=base, fsync="no"), lambda function: function(), open_engine=open_one)
        buckets.open_all_in_thread()
        return buckets

    buckets = restart()
    assert [bucket.name for bucket in buckets] == ["default"]
    assert list(buckets.broken) == ["one"]
    refused = "two"
    with pytest.raises(EngineError, match=r"can't open .*two: (too many open files|out of memory); correct this"):
        buckets.create_in_thread("two")
    assert sorted(os.listdir(base / "buckets")) == ["one"]
    buckets.close_all_in_thread()
    buckets = restart()
    assert [bucket.name for bucket in buckets] == ["default", "one"]
    buckets.close_all_in_thread()


class Refusing:
    """Raises an error in place of one call of the system, which is told by its number."""

    def __init__(self, point: int) -> None:
        self.point = point
        self.passed = 0

    def __enter__(self) -> Refusing:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: object, event: str, function: object) -> None:
        if event == "c_call" and function in CALLS:
            self.passed += 1
            if self.passed == self.point:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# What needs room, or can fail as if it did. With `close`, nothing is refused.
CALLS = {os.mkdir, os.open, open, os.fsync, os.rename, os.replace}


def test_the_disk_is_full_at_any_point_of_making_one(base) -> None:
    """What was refused is not there, now or after a restart."""
    refused = 0
    for point in range(1, 100):
        buckets = open_buckets(base)
        try:
            with Refusing(point) as refusing:
                bucket = buckets.create_in_thread("two")
        except EngineError as exc:
            refused += 1
            assert "no space left on device" in str(exc)
            assert sorted(os.listdir(base / "buckets")) == ["one"]
        else:
            bucket.engine.close()
            buckets.delete_in_thread(bucket)
            if refusing.passed < point:
                break
        finally:
            sys.setprofile(None)
            buckets.close_all_in_thread()
        buckets = open_buckets(base)
        assert [bucket.name for bucket in buckets] == ["default", "one"]
        buckets.close_all_in_thread()
    assert refused > 10


def test_a_call_fails_at_any_point_of_deleting_one(base, memory_directory) -> None:
    """What could not be deleted is there, whole, now and after a restart; what was deleted is not."""
    work = memory_directory / "work"
    refused = 0
    for point in range(1, 100):
        shutil.copytree(base, work)
        buckets = open_buckets(work)
        bucket = buckets._buckets.pop("one")
        refusing, deleted = Refusing(point), True
        try:
            with refusing:
                buckets.delete_in_thread(bucket)
        except EngineError as exc:
            refused += 1
            deleted = False
            assert "no space left on device" in str(exc)
            assert buckets.get("one").reader.get(KEY).value == b"one"
        finally:
            sys.setprofile(None)
            buckets.close_all_in_thread()
        buckets = open_buckets(work)
        assert [each.name for each in buckets] == (["default"] if deleted else ["default", "one"])
        if not deleted:
            assert buckets.get("one").reader.get(KEY).value == b"one"
        buckets.close_all_in_thread()
        assert os.listdir(work / "buckets") == ([] if deleted else ["one"])
        shutil.rmtree(work)
        if refusing.passed < point:
            break
    assert refused == 3  # renaming, and opening and syncing the directory above
