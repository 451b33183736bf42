"""``trio-spool check``: what is damaged is found, named and counted, and nothing ends the process that looks for it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from support.process import command
from trio_spool.cli import main
from trio_spool.engine import Delete, Edit, Remember, Step, StepKind, Store, check_store, open_engine
from trio_spool.engine.lmdb._checking import read_in_child
from trio_spool.engine.lmdb._pages import Pages, parse_tree, read_metas
from trio_spool.engine.lmdb._session import SESSION, Session
from trio_spool.server.data import space_of

PAGE = 4096


def fill(path, count: int = 3000, fsync: str = "no") -> None:
    chance = random.Random(1)
    with open_engine("lmdb", path, fsync=fsync, clock=lambda: 1000.0, expiry_interval=3600, space_of=space_of) as engine:
        keys = [b"\0k%05d" % number for number in range(count)]
        for start in range(0, count, 500):
            engine.execute(
                [Store(key, chance.randbytes(chance.choice([10, 100, 9000 if chance.random() < 0.1 else 50])), 0, 5000 if chance.random() < 0.2 else 0)
                 for key in keys[start : start + 500]]
            )  # fmt: skip
        engine.execute([Delete(key) for key in keys[100:200]])
        engine.execute([Edit(keys[0], (Step(StepKind.UPSERT, b"x", b"1", xattr=True),)), Remember(b"name", b"value")])


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "data"
    fill(path)
    return path


@pytest.fixture
def data(original, tmp_path):
    path = tmp_path / "data"
    shutil.copytree(original, path)
    return path


def run(*arguments, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def change(path, offset: int, content: bytes) -> None:
    with (path / "data.mdb").open("r+b") as file:
        file.seek(offset)
        file.write(content)


def leaves_of(path, name: bytes = b"items") -> list:
    with (path / "data.mdb").open("rb") as file:
        meta = read_metas(file.fileno())[0]
        pages = Pages(file.fileno(), meta)
        trees = {node.key: parse_tree(node, 0) for leaf in pages.leaves(meta.main) for node in leaf.nodes if node.is_tree}
        return list(pages.leaves(trees[name]))


def test_a_sound_database(data) -> None:
    before = (data / "data.mdb").read_bytes()
    assert "default: 2900 items, " in run(data)
    (report,) = map(json.loads, run(data, "--json").splitlines())
    assert (report["items"], report["damaged"], report["without_checksum"], report["last_run"]) == (2900, 0, 0, None)
    assert report["pages"] + report["free_pages"] <= len(before) // PAGE
    assert (data / "data.mdb").read_bytes() == before


def test_each_flipped_bit_of_a_record_is_found(data) -> None:
    leaf = leaves_of(data)[5]
    content = (data / "data.mdb").read_bytes()
    node = leaf.nodes[3]
    start = content.index(node.value, leaf.page * PAGE)
    for bit in range(0, len(node.value) * 8, 11):
        change(data, start + bit // 8, bytes([content[start + bit // 8] ^ 1 << bit % 8]))
        report = check_store(data)
        assert report.damaged == 1
        assert f"the record of the key {node.key!r} is damaged" in report.damage[0]
        change(data, start + bit // 8, content[start + bit // 8 : start + bit // 8 + 1])
    assert check_store(data).damaged == 0


def test_a_page_that_is_lost_is_named_with_its_keys(data) -> None:
    leaf = leaves_of(data)[7]
    change(data, leaf.page * PAGE, bytes(PAGE))
    output = run(data, status=1)
    assert f"page {leaf.page} (byte {leaf.page * PAGE} of data.mdb), of the items: it is empty; it has the keys from" in output
    assert f"{leaf.start!r} up to {leaf.end!r}" in output
    assert "1 damaged" in output
    assert f"{2900 - len(leaf.nodes)} items" in output


def test_any_damage_is_found_or_harmless(data, original) -> None:
    """Where the check finds nothing, everything can be read, and is what was written."""
    content = (original / "data.mdb").read_bytes()
    chance = random.Random(2)
    with open_engine("lmdb", data, fsync="no", expiry_interval=3600, clock=lambda: 1000.0) as engine, engine.snapshot() as snapshot:
        expected = list(snapshot.records())
    content = (data / "data.mdb").read_bytes()
    found = harmless = 0
    for number in range(150):
        page = chance.randrange(len(content) // PAGE)
        length, offset = chance.choice(
            [(1, chance.randrange(PAGE)), (1, chance.randrange(16)), (PAGE, 0), (16, 0), (512, chance.choice([0, 512]))]
        )
        how = [bytes(length), chance.randbytes(length), bytes([content[page * PAGE + offset] ^ 1 << chance.randrange(8)])][
            number % 3
        ]
        change(data, page * PAGE + offset, how)
        report = check_store(data)
        if report.damaged:
            found += 1
        elif number % 10 == 0:
            harmless += 1
            with (
                open_engine("lmdb", data, fsync="no", expiry_interval=3600, clock=lambda: 1000.0) as engine,
                engine.snapshot() as snapshot,
            ):
                assert list(snapshot.records()) == expected
        (data / "data.mdb").write_bytes(content)
    assert found > 75
    assert harmless


def test_all_buckets(data) -> None:
    fill(data / "buckets" / "other", 10)
    assert run(data).splitlines()[-1].startswith("other: 10 items")
    leaf = leaves_of(data / "buckets" / "other")[0]
    change(data / "buckets" / "other", leaf.page * PAGE, b"\xff" * 16)
    lines = run(data, status=1).splitlines()
    assert lines[0].endswith("sound") and lines[-1].endswith("1 damaged")
    assert run(data, "--bucket", "default").endswith("sound\n")
    assert "no bucket in" in run(data, "--bucket", "none", status=1)


def test_both_meta_pages(data) -> None:
    change(data, 0, bytes(2 * PAGE))
    assert "both meta pages are damaged" in run(data, status=1)


def test_one_meta_page(data) -> None:
    change(data, 0, bytes(PAGE))
    assert "one of the two meta pages is damaged" in run(data, status=1)


def test_what_is_no_data_directory(tmp_path, data) -> None:
    assert "is not a data directory of trio-spool" in run(tmp_path, status=1)
    (data / "data.mdb").unlink()
    assert "data.mdb is missing; restore a backup" in run(data, status=1)


def test_a_directory_that_is_in_use(data) -> None:
    with open_engine("lmdb", data, fsync="no"):
        assert "is in use by process" in run(data, status=1)


def test_a_database_that_ends_lmdb(data) -> None:
    """LMDB ends a process that walks over such a page, and the check is not that process."""
    leaf = leaves_of(data)[7]
    change(data, leaf.page * PAGE, bytes(PAGE))
    assert "the process that tried was ended by signal 6" in read_in_child(data)
    process = subprocess.run(command("check", data), capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1
    assert "it is empty" in process.stdout
    assert process.stderr == ""


def test_accept(data, monkeypatch) -> None:
    Session("no", "another boot").write(data)
    assert "the machine crashed while it was used with --fsync no: it is not served" in run(data, status=1)
    leaf = leaves_of(data)[7]
    content = (data / "data.mdb").read_bytes()
    change(data, leaf.page * PAGE, bytes(PAGE))
    assert "restore a backup" in run(data, "--accept", status=1)
    assert (data / SESSION).exists()
    (data / "data.mdb").write_bytes(content)
    assert "accepted, although the machine crashed" in run(data, "--accept")
    assert not (data / SESSION).exists()
    (data / SESSION).write_bytes(b"garbage")
    assert "trio-spool.session is damaged" in run(data, status=1)
    assert "accepted" in run(data, "--accept")
    open_engine("lmdb", data).close()


def test_a_checkpoint_is_what_is_checked(tmp_path) -> None:
    path = tmp_path / "data"
    with open_engine("lmdb", path, fsync="everysec", space_of=space_of) as engine:
        engine.execute([Store(b"\0k", b"v")])
        shutil.copytree(path, tmp_path / "copy")
    content = json.loads(json.loads((tmp_path / "copy" / SESSION).read_text())["session"])
    assert content["checkpoint"]
    from trio_spool.engine.lmdb._session import read_session

    session = read_session(tmp_path / "copy")
    Session("everysec", "another boot", session.checkpoint).write(tmp_path / "copy")
    output = run(tmp_path / "copy")
    assert "the next start goes back to the last sync, and that is what was checked" in output
    assert "default: 0 items" in output
