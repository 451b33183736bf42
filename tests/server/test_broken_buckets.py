"""Buckets that can't be opened: each is named and refused, and the others are served."""

from __future__ import annotations

import os
import shutil

import pytest
import structlog

from trio_spool.engine import DataDirectoryError, Remember, open_engine
from trio_spool.mcbp import Opcode, Status, encode_request
from trio_spool.server import Settings, serve

EXTRAS = bytes(8)


@pytest.fixture
async def options(run_service, tmp_path):
    """The settings of a service that has run, and has three buckets with an item each."""
    options = {"engine": "lmdb", "data_dir": tmp_path / "data", "fsync": "no", "max_buckets": 4}
    async with run_service(**options) as service, service.connect() as raw:
        await put(raw, b"default")
        for name in (b"one", b"two"):
            assert (await raw.call(Opcode.CREATE_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0
            await put(raw, name)
    return options


async def put(raw, value: bytes) -> None:
    assert (await raw.call(Opcode.SET, key=b"k", value=value, extras=EXTRAS)).status == 0


def damage_database(path) -> None:
    (path / "data.mdb").write_bytes(b"garbage" * 10_000)


def cut_database(path) -> None:
    os.truncate(path / "data.mdb", 8192)


def remove_database(path) -> None:
    (path / "data.mdb").unlink()


def damage_marker(path) -> None:
    (path / "trio-spool.json").write_text("{")


def change_format(path) -> None:
    (path / "trio-spool.json").write_text('{"format": 99, "engine": "lmdb", "uuid": "x"}')


def lose_marker(path) -> None:
    (path / "trio-spool.json").unlink()


def damage_manifest(path) -> None:
    with open_engine("lmdb", path, fsync="no") as engine:
        engine.execute([Remember(b"manifest", b"{}")])


def block_lock(path) -> None:
    (path / "trio-spool.lock").unlink()
    (path / "trio-spool.lock").mkdir()


def lose_disk(path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path.with_name(".not mounted"))


def put_a_file_there(path) -> None:
    shutil.rmtree(path)
    path.write_text("")


BREAKS = [
    damage_database, cut_database, remove_database, damage_marker, change_format, lose_marker, damage_manifest, block_lock, lose_disk,
    put_a_file_there,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
async def test_one_is_broken_and_the_others_are_served(run_service, options, spoil) -> None:
    path = options["data_dir"] / "buckets" / "one"
    spoil(path)
    with structlog.testing.capture_logs() as logs:
        async with run_service(**options) as service, service.connect() as raw:
            assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default two"
            assert (await raw.call(Opcode.GET, key=b"k")).value == b"default"
            assert (await raw.call(Opcode.SELECT_BUCKET, key=b"two")).status == 0
            assert (await raw.call(Opcode.GET, key=b"k")).value == b"two"
            assert (await raw.call(Opcode.SELECT_BUCKET, key=b"one")).status == Status.TEMPORARY_FAILURE
            assert (await raw.call(Opcode.GET, key=b"k")).value == b"two"
            rows = await raw.stat(b"buckets")
            assert rows[b"two"] == b"1"
            assert rows[b"one"].startswith(b"broken: ")
            assert (await raw.call(Opcode.CREATE_BUCKET, key=b"one")).status == Status.EXISTS
    (line,) = logs
    assert (line["log_level"], line["bucket"]) == ("error", "one")
    assert str(path) in line["reason"] or "the bucket one" in line["reason"]
    assert os.path.lexists(path)


async def test_a_broken_one_counts_and_can_be_deleted(run_service, options) -> None:
    damage_database(options["data_dir"] / "buckets" / "one")
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"three")).status == 0
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"four")).status == Status.INVALID
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == 0
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == Status.NOT_FOUND
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"one")).status == Status.NO_ACCESS
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"one")).status == 0
    assert sorted(os.listdir(options["data_dir"] / "buckets")) == ["one", "three", "two"]


async def test_one_that_another_process_uses_is_not_deleted(run_service, options) -> None:
    path = options["data_dir"] / "buckets" / "one"
    with open_engine("lmdb", path) as engine:
        async with run_service(**options) as service, service.connect() as raw:
            assert b"is in use by process" in (await raw.stat(b"buckets"))[b"one"]
            assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == Status.TEMPORARY_FAILURE
            assert (await raw.stat(b"buckets"))[b"one"].startswith(b"broken: ")
            assert engine.open_reader().get(b"\0k").value == b"one"
            engine.close()
            assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == 0
            assert list(await raw.stat(b"buckets")) == [b"default", b"two"]
    assert not path.exists()


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
async def test_whatever_is_wrong_with_it_it_can_be_deleted(run_service, options, spoil) -> None:
    path = options["data_dir"] / "buckets" / "one"
    spoil(path)
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == 0
    assert os.listdir(path.parent) == ["two"]


async def test_it_is_served_again_once_it_is_mended(run_service, options) -> None:
    path = options["data_dir"] / "buckets" / "one"
    good = (path / "data.mdb").read_bytes()
    damage_database(path)
    async with run_service(**options):
        pass
    (path / "data.mdb").write_bytes(good)
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"one")).status == 0
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"one"


async def test_all_others_are_broken(run_service, options) -> None:
    for name in ("one", "two"):
        damage_database(options["data_dir"] / "buckets" / name)
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default"
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"default"


@pytest.mark.parametrize("spoil", [damage_database, remove_database, damage_manifest], ids=lambda spoil: spoil.__name__)
async def test_the_default_one_is_broken(run_service, options, spoil) -> None:
    spoil(options["data_dir"])
    with structlog.testing.capture_logs() as logs:
        async with run_service(**options) as service, service.connect() as raw:
            assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"one two"
            assert (await raw.call(Opcode.NOOP)).status == 0
            assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NO_BUCKET
            assert (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).status == Status.NO_BUCKET
            assert (await raw.call(Opcode.SELECT_BUCKET, key=b"default")).status == Status.TEMPORARY_FAILURE
            assert (await raw.call(Opcode.DELETE_BUCKET, key=b"default")).status == Status.INVALID
            await raw.send(
                encode_request(Opcode.SELECT_BUCKET, key=b"one"),
                encode_request(Opcode.GET, key=b"k"),
                encode_request(Opcode.SET, key=b"k", value=b"new", extras=EXTRAS),
                encode_request(Opcode.GET, key=b"k"),
            )
            assert [(await raw.receive()).value for _ in range(4)] == [b"", b"one", b"", b"new"]
            # Nobody else may use the data directory meanwhile.
            with pytest.raises(DataDirectoryError, match="is in use by process"):
                await serve(Settings(listen="tcp://127.0.0.1:0", **options))
    assert [(line["log_level"], line["bucket"]) for line in logs if line["log_level"] == "error"] == [("error", "default")]


async def test_none_is_left(options) -> None:
    for path in (options["data_dir"], *(options["data_dir"] / "buckets").iterdir()):
        damage_database(path)
    for _ in range(2):  # nothing stays locked
        with pytest.raises(DataDirectoryError, match=r"can't open the database in .*data: "):
            await serve(Settings(listen="tcp://127.0.0.1:0", **options))


async def test_what_was_never_finished_is_removed(run_service, options) -> None:
    """Older versions made a bucket in the directory of its name, and left it there if the disk was full."""
    left = options["data_dir"] / "buckets" / "left"
    for files in ([], ["trio-spool.lock"], ["trio-spool.lock", "trio-spool.json.new", "data.mdb", "lock.mdb"]):
        left.mkdir()
        for name in files:
            (left / name).touch()
        async with run_service(**options) as service, service.connect() as raw:
            assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default one two"
            assert not left.exists()


async def test_a_bucket_behind_a_link(run_service, options, tmp_path) -> None:
    """Somebody has moved it to another disk. Deleting it deletes the link, and what is there."""
    there = tmp_path / "there"
    shutil.move(options["data_dir"] / "buckets" / "one", there)
    (options["data_dir"] / "buckets" / "one").symlink_to(there)
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"one")).status == 0
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"one"
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"one")).status == 0
    assert os.listdir(options["data_dir"] / "buckets") == ["two"]
    assert not there.exists()


async def test_a_directory_of_the_default_ones_name(run_service, options) -> None:
    shutil.copytree(options["data_dir"] / "buckets" / "one", options["data_dir"] / "buckets" / "default")
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default one two"
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"default"
