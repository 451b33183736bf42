"""Errors below an engine, and what is made of them."""

from __future__ import annotations

import errno
import os

import lmdb
import pytest

from trio_spool.engine import (
    DamagedError,
    NoSpaceError,
    Problem,
    Store,
)


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


@pytest.mark.parametrize(("error", "expected"), [(lmdb.DiskError("x"), NoSpaceError), (lmdb.PageNotFoundError("x"), DamagedError)])
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
