"""Data directories that were damaged, and those that were never finished."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from trio_spool.engine import CopyError, DataDirectoryError, Store, count_copy, open_engine
from trio_spool.engine.lmdb import _file as lmdb_file
from trio_spool.engine.lmdb._file import find_shortage

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A directory with a database of about 200 pages."""
    path = tmp_path / "used"
    with open_engine("lmdb", path, fsync="no") as engine:
        engine.execute([Store(b"k%03d" % n, bytes(3000)) for n in range(200)])
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataDirectoryError) as caught:
        open_engine("lmdb", path, fsync="no")
    return str(caught.value)


def keys(path: Path) -> int:
    with open_engine("lmdb", path, fsync="no") as engine:
        return engine.statistics().items


def meta_of(file: Path) -> lmdb_file._Meta:
    with file.open("rb") as opened:
        meta = lmdb_file._read_meta(opened)
    assert meta is not None
    return meta


# How long the file must be


def test_meta_pages_are_read_as_lmdb_reads_them(tmp_path) -> None:
    with lmdb.open(str(tmp_path), map_size=1 << 26, sync=False) as env:
        for number in range(20):
            with env.begin(write=True) as transaction:
                transaction.put(b"%d" % number, bytes(5000))
                transaction.delete(b"%d" % (number - 3))
            meta, info = meta_of(tmp_path / "data.mdb"), env.info()
            assert meta.page_size == env.stat()["psize"]
            assert (meta.last_page, meta.transaction) == (info["last_pgno"], info["last_txnid"])


def test_free_pages_are_found_as_lmdb_finds_them(tmp_path) -> None:
    """In some hundred records, of which some are large, below a branch."""
    file = tmp_path / "data.mdb"
    with lmdb.open(str(tmp_path), map_size=1 << 28, sync=False) as env:
        with env.begin(write=True) as transaction:
            for number in range(3000):
                transaction.put(b"%06d" % number, bytes(8 * PAGE))
        with env.begin():  # what it sees is not used again
            for number in range(400):
                with env.begin(write=True) as transaction:
                    transaction.delete(b"%06d" % number)
            with env.begin(write=True) as transaction:
                for number in range(400, 2000):
                    transaction.delete(b"%06d" % number)
        meta = meta_of(file)
        with file.open("rb") as opened:
            free = list(lmdb_file._free_pages(opened, meta))
        with env.begin() as transaction:
            stat = transaction.stat()
    assert len(set(free)) == len(free)
    # All pages are the meta pages, those of the items, the list's own, or free ones; the list has at least two levels.
    items = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    own = meta.last_page + 1 - 2 - items - len(free)
    assert 4 < own < 100
    assert len(free) > 16_000


@pytest.mark.parametrize("kept", [2 * PAGE, 2 * PAGE + 1, 5 * PAGE, -PAGE, -1])
def test_a_database_that_was_cut_off_is_refused(used: Path, kept: int) -> None:
    file = used / "data.mdb"
    whole = file.read_bytes()
    length = kept % len(whole)
    os.truncate(file, length)
    assert refused(used) == f"{file} is damaged: it has {length} bytes, and must have {len(whole)}; restore a backup"
    with pytest.raises(CopyError, match=f"it has {length} bytes, and must have {len(whole)}"):
        count_copy(used)
    assert file.stat().st_size == length
    file.write_bytes(whole)
    assert keys(used) == 200


def test_half_of_the_meta_pages(used: Path) -> None:
    os.truncate(used / "data.mdb", PAGE)
    assert "is damaged: it has" in refused(used)
    os.truncate(used / "data.mdb", 100)
    assert "can't open the database" in refused(used)


def test_pages_that_were_given_back_at_once_need_not_be_there(used: Path) -> None:
    file = used / "data.mdb"
    with open_engine("lmdb", used, fsync="no") as engine:
        engine.execute([Store(b"k000", bytes(100))])  # leaves free pages, without which LMDB does not do that
        with engine.storage.env.begin(write=True, db=engine.storage.databases.items) as transaction:
            transaction.put(b"large", bytes(1_000_000))
            transaction.delete(b"large")
            transaction.put(b"k001", bytes(3000))
    length = file.stat().st_size
    assert length < meta_of(file).last_page * PAGE
    assert find_shortage(file) is None
    assert keys(used) == 200
    os.truncate(file, length - 50 * PAGE)
    assert f"it has {length - 50 * PAGE} bytes, and must have" in refused(used)


def test_what_is_not_understood_is_left_to_lmdb(used: Path) -> None:
    file = used / "data.mdb"
    content = file.read_bytes()
    cut_off = content[: 3 * PAGE]
    for offset in (16, 20, 40):  # magic, version, page size
        damaged = bytearray(cut_off)
        for page in (0, PAGE):
            damaged[page + offset : page + offset + 4] = b"\x07\0\0\0"
        file.write_bytes(damaged)
        assert find_shortage(file) is None
    file.write_bytes(cut_off)
    assert find_shortage(file) == (3 * PAGE, len(content))


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_list_of_free_pages_ends(used: Path, seed: int) -> None:
    file = used / "data.mdb"
    rng = random.Random(seed)
    content = bytearray(file.read_bytes())
    meta = meta_of(file)
    for page in (0, 1):
        content[page * PAGE + 136 : page * PAGE + 144] = (meta.last_page + 10).to_bytes(8, "little")
    for _ in range(4):
        content[meta.free_root * PAGE + rng.randrange(64)] = rng.randrange(256)
    file.write_bytes(content)
    assert find_shortage(file) == (len(content), len(content) + 10 * PAGE)


# What is in it


@pytest.mark.parametrize("page", range(2, 7))
def test_pages_of_random_bytes_are_refused(tmp_path, page: int) -> None:
    open_engine("lmdb", tmp_path).close()
    file = tmp_path / "data.mdb"
    content = bytearray(file.read_bytes())
    content[2 * PAGE :] = random.Random(page).randbytes(len(content) - 2 * PAGE)
    file.write_bytes(content)
    message = refused(tmp_path)
    assert message.startswith(f"can't open the database in {tmp_path}: ")
    assert message.endswith("it is damaged: restore a backup")


def test_a_state_of_another_length_is_refused(used: Path) -> None:
    with open_engine("lmdb", used) as engine:
        storage = engine.storage
        with storage.env.begin(write=True, db=storage.databases.meta) as transaction:
            transaction.put(b"state", b"short")
    assert "it is damaged: restore a backup" in refused(used)


@pytest.mark.parametrize("state", ["is missing", "is empty"])
def test_a_database_that_was_lost_is_not_begun_anew(used: Path, state: str) -> None:
    file = used / "data.mdb"
    file.unlink()
    if state == "is empty":
        file.touch()
    message = refused(used)
    assert message == f"{file} {state}, though {used} was in use; restore a backup, or name another directory"
    assert file.exists() == (state == "is empty")


def test_a_database_that_can_not_be_read(used: Path) -> None:
    (used / "data.mdb").unlink()
    (used / "data.mdb").mkdir()
    assert f"can't read {used / 'data.mdb'}: is a directory" in refused(used)


def test_a_copy_can_be_used_before_it_was(used: Path, tmp_path) -> None:
    with open_engine("lmdb", used) as engine:
        engine.copy_files(tmp_path / "copy", lambda: None)
    assert keys(tmp_path / "copy") == 200


# First starts that are interrupted


STEPS = [
    ("trio_spool.engine.lmdb._engine", "begin_directory"),
    ("trio_spool.engine.lmdb._engine", "check_database"),
    ("lmdb", "open"),
    ("trio_spool.engine.lmdb._storage", "prepare"),
    ("trio_spool.engine.lmdb._engine", "finish_directory"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS)
def test_a_first_start_that_was_interrupted_is_done_again(tmp_path, owner: str, name: str, when: str) -> None:
    script = f"""
import os, pkgutil
from pathlib import Path
import lmdb
from trio_spool.engine import EngineOptions
from trio_spool.engine.lmdb._engine import LmdbEngine

owner = pkgutil.resolve_name({owner!r})
original = getattr(owner, {name!r})

def interrupted(*arguments, **options):
    if {when!r} == "after":
        original(*arguments, **options)
    os._exit(9)

setattr(owner, {name!r}, interrupted)
LmdbEngine(EngineOptions(directory=Path({str(tmp_path)!r}), fsync="no"), open_environment=lmdb.open)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 9
    marked = (tmp_path / "trio-spool.json").exists()
    assert marked == ((name, when) == ("finish_directory", "after"))
    assert keys(tmp_path) == 0
    assert (tmp_path / "trio-spool.json").exists()
    assert not (tmp_path / "trio-spool.json.new").exists()


def test_meta_pages_that_a_first_start_did_not_finish(tmp_path) -> None:
    open_engine("lmdb", tmp_path).close()
    (tmp_path / "trio-spool.json").rename(tmp_path / "trio-spool.json.new")
    os.truncate(tmp_path / "data.mdb", PAGE)
    assert keys(tmp_path) == 0


def test_a_database_of_others_is_not_taken_for_an_interrupted_start(tmp_path) -> None:
    lmdb.open(str(tmp_path)).close()
    assert "it is not empty, and has no trio-spool.json" in refused(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.mdb", "lock.mdb"]
