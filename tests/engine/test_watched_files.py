"""A data directory that is removed, renamed or replaced while an engine has it open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.storage import wait_until
from trio_spool.engine import EngineFailedError, EngineOptions, Store, open_engine
from trio_spool.engine._errors import LostStoreError
from trio_spool.engine.lmdb._engine import LmdbEngine


@pytest.fixture
def opened(tmp_path):
    """An engine that looks whenever it may."""
    options = EngineOptions(directory=tmp_path / "data", fsync="no", expiry_interval=0.001)
    with LmdbEngine(options, watch_interval=0.0) as engine:
        assert engine.execute([Store(b"k", b"v" * 5000)])[0].problem is None
        yield engine


def replace_by_a_copy(path: Path) -> None:
    shutil.copytree(path, path.with_name("copy"))
    path.rename(path.with_name("old"))
    path.with_name("copy").rename(path)


def replace_database(path: Path) -> None:
    shutil.copy(path / "data.mdb", path / "copy")
    os.replace(path / "copy", path / "data.mdb")


def replace_by_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


CHANGES = {
    "removed": shutil.rmtree,
    "renamed": lambda path: path.rename(path.with_name("old")),
    "its parent renamed": lambda path: path.parent.rename(path.parent.with_name(path.parent.name + "-old")),
    "replaced by a copy": replace_by_a_copy,
    "replaced by a file": replace_by_a_file,
    "database removed": lambda path: (path / "data.mdb").unlink(),
    "database replaced": replace_database,
    "database cut off": lambda path: os.truncate(path / "data.mdb", 8192),
    "lock removed": lambda path: (path / "trio-spool.lock").unlink(),
    "marker removed": lambda path: (path / "trio-spool.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_says_so_and_acknowledges_nothing_more(opened, tmp_path, change: str) -> None:
    wait_until(lambda: opened.storage.watch.size > 8192)
    try:
        CHANGES[change](tmp_path / "data")
        wait_until(lambda: opened.failure is not None)
    finally:
        if not tmp_path.exists():
            tmp_path.with_name(tmp_path.name + "-old").rename(tmp_path)
    assert str(tmp_path / "data") in str(opened.failure)
    with pytest.raises(EngineFailedError, match="was removed, renamed or changed by somebody else"):
        opened.execute([Store(b"k", b"w")])


def test_what_was_acknowledged_is_where_the_directory_has_gone(opened, tmp_path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    acknowledged = 0
    with pytest.raises(EngineFailedError):
        while True:
            assert opened.execute([Store(b"%d" % acknowledged, b"v")])[0].problem is None
            acknowledged += 1
    opened.close()
    with open_engine("lmdb", tmp_path / "elsewhere") as engine:
        # The last one may have been committed, and its answer held back.
        assert engine.statistics().items - 1 in (acknowledged, acknowledged + 1)


def test_growing_is_no_change(opened) -> None:
    for number in range(20):
        assert opened.execute([Store(b"%d" % number, b"v" * 100_000)])[0].problem is None
    assert opened.failure is None


def test_it_looks_once_in_a_while(make_lmdb, tmp_path) -> None:
    watch = make_lmdb().storage.watch
    now = watch._looked
    watch._clock = lambda: now
    (tmp_path / "data" / "trio-spool.lock").unlink()
    watch.look_if_due()
    now += 0.99
    watch.look_if_due()
    now += 0.02
    with pytest.raises(LostStoreError, match=r"trio-spool\.lock"):
        watch.look_if_due()
