"""Copies of a store: as a stream, and as files."""

from __future__ import annotations

import hashlib
import json

import lmdb
import pytest

from trio_spool.engine import (
    DATABASE,
    MARKER,
    CopyError,
    DamagedError,
    DataDirectoryError,
    Edit,
    EngineClosedError,
    NoFilesError,
    Remember,
    Step,
    StepKind,
    Store,
    count_copy,
    open_engine,
)


class Stop(Exception):
    pass


def stop(*arguments) -> None:
    raise Stop


@pytest.fixture
def filled(make_lmdb, options):
    engine = make_lmdb(**options)
    step = Step(StepKind.UPSERT, b"x", b"1", xattr=True)
    engine.execute([Store(b"k%03d" % n, b"v" * 1000) for n in range(200)] + [Edit(b"k000", (step,)), Remember(b"name", b"value")])
    return engine


def test_a_copy_is_a_data_directory(filled, options, tmp_path) -> None:
    files = filled.copy_files(tmp_path / "copy", lambda: None)
    filled.execute([Store(b"later", b"v")])
    assert [file.name for file in files] == [DATABASE, MARKER]
    for file in files:
        content = (tmp_path / "copy" / file.name).read_bytes()
        assert (file.size, file.sha512) == (len(content), hashlib.sha512(content).hexdigest())
    assert json.loads((tmp_path / "copy" / MARKER).read_text())["uuid"] != filled.identity
    assert count_copy(tmp_path / "copy") == 200
    with open_engine("lmdb", tmp_path / "copy", fsync="no", **options) as copy:
        assert len(list(copy.entries())) == 200
        assert copy.open_reader().get(b"k000").xattrs == b'{"x":1}'
        assert copy.spaces == {b"k": (200, 200 * 1004 + 7)}
        assert copy.recall(b"name") == b"value"


def test_what_is_raised_ends_the_copying(filled, tmp_path) -> None:
    with pytest.raises(Stop):
        filled.copy(stop)
    with pytest.raises(Stop):
        filled.copy_files(tmp_path / "copy", stop)
    pieces = []
    filled.copy(pieces.append)
    assert sum(map(len, pieces)) > 200_000


def test_a_copy_that_fails(make_faulty, faults, tmp_path) -> None:
    engine = make_faulty()
    faults.add("copyfd", *[OSError("the disk is gone")] * 2)
    with pytest.raises(CopyError, match="copying the database failed: the disk is gone"):
        engine.copy(lambda piece: None)
    with pytest.raises(CopyError, match="the disk is gone"):
        engine.copy_files(tmp_path / "copy", lambda: None)


def test_a_closed_engine(filled) -> None:
    filled.close()
    with pytest.raises(EngineClosedError):
        filled.copy(lambda piece: None)


def test_an_engine_without_files(tmp_path) -> None:
    with open_engine("memory") as engine, pytest.raises(NoFilesError, match="the engine memory"):
        engine.copy_files(tmp_path / "copy", lambda: None)


def test_a_directory_that_is_taken(filled, tmp_path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "letters.txt").write_text("dear")
    with pytest.raises(DataDirectoryError):
        filled.copy_files(tmp_path / "copy", lambda: None)


def test_a_copy_that_is_missing(tmp_path) -> None:
    with pytest.raises(CopyError, match=r"can't read .*data\.mdb: no such file or directory"):
        count_copy(tmp_path)


def test_a_copy_that_does_not_open(tmp_path) -> None:
    (tmp_path / DATABASE).write_bytes(b"garbage" * 10_000)
    with pytest.raises(CopyError, match="does not open"):
        count_copy(tmp_path)


def test_a_page_that_is_damaged(make_faulty, faults) -> None:
    engine = make_faulty()
    faults.add("copyfd", lmdb.CorruptedError("x"))
    with pytest.raises(DamagedError, match="a page of the database is damaged: x"):
        engine.copy(lambda piece: None)
