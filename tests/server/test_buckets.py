"""Buckets, by the frame: making, choosing and deleting them, and what clients are told of them."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from trio_spool.engine import DataDirectoryError, Remember, open_engine
from trio_spool.mcbp import CONTINUE, Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server import Settings, serve

EXTRAS = bytes(8)
SCAN = encode_scan_request(ScanRequest())


@pytest.fixture(params=["memory", "lmdb"])
async def service(request, run_service, tmp_path):
    options = {"engine": request.param, "fsync": "no", "max_buckets": 4}
    if request.param == "lmdb":
        options["data_dir"] = tmp_path / "data"
    async with run_service(**options) as served:
        yield served


async def put(raw, key: bytes, value: bytes = b"v") -> None:
    assert (await raw.call(Opcode.SET, key=key, value=value, extras=EXTRAS)).status == 0


async def create(raw, name: bytes) -> int:
    return (await raw.call(Opcode.CREATE_BUCKET, key=name, value=b"")).status


async def delete(raw, name: bytes) -> int:
    return (await raw.call(Opcode.DELETE_BUCKET, key=name)).status


async def select(raw, name: bytes) -> int:
    return (await raw.call(Opcode.SELECT_BUCKET, key=name)).status


async def names(raw) -> list[bytes]:
    return (await raw.call(Opcode.LIST_BUCKETS)).value.split()


async def stat(raw, group: bytes) -> dict[bytes, bytes]:
    await raw.send(encode_request(Opcode.STAT, key=group))
    rows = {}
    while (reply := await raw.receive()).key:
        rows[reply.key] = reply.value
    return rows


# Making and choosing


async def test_each_is_a_store_of_its_own(service, raw) -> None:
    assert await names(raw) == [b"default"]
    await put(raw, b"k", b"default")
    assert await create(raw, b"two") == 0
    assert await create(raw, b"two") == Status.EXISTS
    assert await create(raw, b"default") == Status.EXISTS
    assert await names(raw) == [b"default", b"two"]
    assert (await raw.call(Opcode.GET, key=b"k")).value == b"default"
    assert await select(raw, b"two") == 0
    assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
    await put(raw, b"k", b"two")
    await put(raw, b"l", b"two")
    assert await stat(raw, b"buckets") == {b"default": b"1", b"two": b"2"}
    assert await stat(raw, b"keys") != {}
    async with service.connect() as other:
        assert (await other.call(Opcode.GET, key=b"k")).value == b"default"
    assert await select(raw, b"default") == 0
    assert (await raw.call(Opcode.GET, key=b"k")).value == b"default"


@pytest.mark.parametrize("name", [b"", b"none", b"Default", b"\xff", b"x" * 250])
async def test_one_that_is_not_there_is_not_selected(raw, name: bytes) -> None:
    await put(raw, b"k")
    assert await select(raw, name) == Status.NO_ACCESS
    assert (await raw.call(Opcode.GET, key=b"k")).status == 0


@pytest.mark.parametrize(
    "name", [b".", b"..", b".deleted-x", b"a/b", b"a b", b"a\0", b"\xff", b"x" * 101, b"../x", b"already!", b"a\n"]
)
async def test_bad_names(raw, name: bytes) -> None:
    assert await create(raw, name) == Status.INVALID
    assert await delete(raw, name) == Status.NOT_FOUND
    assert await names(raw) == [b"default"]


@pytest.mark.parametrize("name", [b"a", b"_", b"%25", b"a.b-c_d", b"x" * 100, b"-"])
async def test_good_names(raw, name: bytes) -> None:
    assert await create(raw, name) == 0
    assert await select(raw, name) == 0
    await put(raw, b"k")
    assert await delete(raw, name) == 0


async def test_the_most(raw) -> None:
    for name in (b"1", b"2", b"3"):
        assert await create(raw, name) == 0
    assert await create(raw, b"4") == Status.INVALID
    assert await delete(raw, b"2") == 0
    assert await create(raw, b"4") == 0
    assert await names(raw) == [b"1", b"3", b"4", b"default"]


async def test_many_at_once_make_it_once(service, raw) -> None:
    statuses = []

    async def make() -> None:
        async with service.connect() as other:
            statuses.append(await create(other, b"one"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(make)
    assert sorted(statuses) == [0, *[Status.EXISTS] * 4]


async def test_what_is_before_a_selection_in_a_pipeline_is_in_the_bucket_before_it(raw) -> None:
    assert await create(raw, b"two") == 0
    await raw.send(
        encode_request(Opcode.SET, key=b"k", value=b"default", extras=EXTRAS),
        encode_request(Opcode.SELECT_BUCKET, key=b"two"),
        encode_request(Opcode.GET, key=b"k"),
        encode_request(Opcode.SETQ, key=b"k", value=b"two", extras=EXTRAS),
        encode_request(Opcode.SELECT_BUCKET, key=b"default"),
        encode_request(Opcode.GET, key=b"k"),
    )
    replies = [await raw.receive() for _ in range(5)]
    assert [reply.status for reply in replies] == [0, 0, Status.NOT_FOUND, 0, 0]
    assert replies[-1].value == b"default"
    assert await stat(raw, b"buckets") == {b"default": b"1", b"two": b"1"}


async def test_what_is_before_hello_in_a_pipeline_is_answered_as_before_it(raw) -> None:
    await raw.send(
        encode_request(Opcode.REPLACE, key=b"k", value=b"v", extras=EXTRAS),
        encode_request(Opcode.HELLO, value=b"\0\7\0\x0f"),
        encode_request(Opcode.REPLACE, key=b"k", value=b"v", extras=EXTRAS),
    )
    before, _, after = [await raw.receive() for _ in range(3)]
    assert (before.value, before.framing) == (b"Not found", b"")
    assert (after.value, len(after.framing)) == (b"", 3)


async def test_nobody_waits_for_a_bucket_that_is_being_made(run_service) -> None:
    """Making one is a thread's work: other connections go on meanwhile, and those who want the same one wait."""
    hooks = Hooks()
    async with run_service(engine=hooks.kind()) as service, service.connect() as raw, service.connect() as other:
        entered, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            entered.set()
            assert go_on.wait(20)

        hooks.before_open = hold
        await other.send(encode_request(Opcode.CREATE_BUCKET, key=b"two"))
        assert await trio.to_thread.run_sync(entered.wait, 20)
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
        await raw.send(encode_request(Opcode.CREATE_BUCKET, key=b"two"))
        await wait_all_tasks_blocked()
        assert service.inside.buckets.get("two") is None
        go_on.set()
        assert (await other.receive()).status == 0
        assert (await raw.receive()).status == Status.EXISTS


# Deleting


async def test_what_is_deleted_is_gone(service, raw) -> None:
    assert await create(raw, b"two") == 0
    for round_ in range(2):
        assert await select(raw, b"two") == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND, round_
        await put(raw, b"k")
        old = (await stat(raw, b"uuid"))[b"uuid"]
        # Whoever deletes the bucket stays connected, without one.
        assert await delete(raw, b"two") == 0
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NO_BUCKET
        assert (await raw.call(Opcode.STAT)).status == Status.NO_BUCKET
        assert (await raw.call(Opcode.NOOP)).status == 0
        assert "vBucketServerMap" not in json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)
        assert await select(raw, b"two") == Status.NO_ACCESS
        assert await delete(raw, b"two") == Status.NOT_FOUND
        assert await names(raw) == [b"default"]
        assert await create(raw, b"two") == 0
        assert await select(raw, b"two") == 0
        assert (await stat(raw, b"uuid"))[b"uuid"] != old


async def test_the_default_one_stays(raw) -> None:
    await put(raw, b"k")
    assert await delete(raw, b"default") == Status.INVALID
    assert (await raw.call(Opcode.GET, key=b"k")).status == 0


async def test_deleting_closes_the_connections_of_others(service, raw, until) -> None:
    assert await create(raw, b"two") == 0
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as idle, service.connect() as busy, service.connect() as elsewhere:
            for other in (idle, busy):
                assert await select(other, b"two") == 0
            frames = [encode_request(Opcode.SETQ, key=b"%0100d" % n, extras=EXTRAS) for n in range(20_000)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(busy.send, *frames, encode_request(Opcode.NOOP))
                await busy.receive()
            scan = (await idle.call(Opcode.RANGE_SCAN_CREATE, value=SCAN)).value
            assert len(scan) == 16
            assert (await elsewhere.call(Opcode.NOOP)).status == 0
            await busy.send(encode_request(Opcode.STAT, key=b"keys") * 20)
            await busy.receive()
            assert len(list(service.inside.scans)) == 1
            assert await delete(raw, b"two") == 0
            assert list(service.inside.scans) == []
            assert await idle.closed()
            await busy.closed()
            assert (await elsewhere.call(Opcode.NOOP)).status == 0
            reply = await elsewhere.call(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan, 0, 0, 0))
            assert reply.status == Status.NOT_FOUND
        await until(lambda: len(service.inside.connections) == 1)
    assert logs == []


async def test_deleting_while_others_write(service, raw, until) -> None:
    """Whatever a connection is about at that moment, it ends without a word in the log."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            assert await create(raw, b"two") == 0
            async with service.connect() as other, trio.open_nursery() as nursery:
                assert await select(other, b"two") == 0

                async def write(other=other) -> None:
                    try:
                        while True:
                            await other.send(encode_request(Opcode.SETQ, key=b"k", value=bytes(50), extras=EXTRAS) * 500)
                    except trio.BrokenResourceError:
                        pass

                nursery.start_soon(write)
                nursery.start_soon(other.closed)
                bucket = service.inside.buckets.get("two")
                await until(lambda bucket=bucket: bucket.engine.seqno > 500)
                assert await delete(raw, b"two") == 0
            await until(lambda: len(service.inside.connections) == 1)
    assert logs == []


async def test_deleting_at_the_moment_an_outcome_arrives(run_service, until) -> None:
    hooks = Hooks()
    with structlog.testing.capture_logs() as logs:
        async with run_service(engine=hooks.kind()) as service, service.connect() as raw:
            assert await create(raw, b"two") == 0
            bucket = service.inside.buckets.get("two")
            async with service.connect() as other:
                await other.hello(Feature.MUTATION_SEQNO)
                assert await select(other, b"two") == 0
                hooks.answered = lambda: service.inside.leave(bucket, 0)
                frames = [raw.plain_frame(opcode) for opcode in (Opcode.SET, Opcode.GET_LOCKED, Opcode.GET, Opcode.SUBDOC_EXISTS)]
                await other.send(*frames, encode_request(Opcode.GET, key=b"k") * 10)
                await other.closed()
            await until(lambda: len(service.inside.connections) == 1)
    assert logs == []


# Restarts


async def test_a_restart_keeps_them(run_service, tmp_path) -> None:
    options = {"engine": "lmdb", "data_dir": tmp_path / "data", "fsync": "no", "vbuckets": 4}
    seen = []
    for _ in range(2):
        async with run_service(**options) as service, service.connect() as raw:
            if not seen:
                assert await create(raw, b"two") == 0
                assert await create(raw, b"gone") == 0
                assert await delete(raw, b"gone") == 0
            assert await names(raw) == [b"default", b"two"]
            rows = []
            for name in (b"default", b"two"):
                assert await select(raw, name) == 0
                if not seen:
                    await put(raw, b"k", name)
                assert (await raw.call(Opcode.GET, key=b"k")).value == name
                rows += [await stat(raw, b"uuid"), await stat(raw, b"failovers")]
            seen.append(rows)
    assert seen[0] == seen[1]
    uuids = [value for rows in seen[0][1::2] for key, value in rows.items() if key.endswith(b":id")]
    assert len(set(uuids)) == len(uuids) == 8
    assert all(0 < int(uuid) < 1 << 63 for uuid in uuids)
    assert not any(path.name.startswith(".deleted") for path in (tmp_path / "data" / "buckets").iterdir())


async def test_what_a_deletion_left_behind_is_removed(run_service, tmp_path) -> None:
    left = tmp_path / "data" / "buckets" / ".deleted-0123"
    options = {"engine": "lmdb", "data_dir": tmp_path / "data", "fsync": "no"}
    async with run_service(**options):
        pass
    left.mkdir(parents=True)
    (left / "data.mdb").write_bytes(b"x")
    async with run_service(**options) as service, service.connect() as raw:
        assert await names(raw) == [b"default"]
        assert not left.exists()


async def test_a_directory_that_can_not_be_used(run_service, tmp_path) -> None:
    async with run_service(engine="lmdb", data_dir=tmp_path / "data", fsync="no") as service, service.connect() as raw:
        in_the_way = tmp_path / "data" / "buckets" / "two"
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_text("precious")
        assert await create(raw, b"two") == Status.TEMPORARY_FAILURE
        assert await names(raw) == [b"default"]
        assert in_the_way.read_text() == "precious"
        assert (await raw.call(Opcode.NOOP)).status == 0


# A data directory that must not be entered


async def test_a_directory_that_must_not_be_entered(tmp_path, monkeypatch) -> None:
    """Permissions do not hold for root, so what the system would say is put in its mouth."""
    private = tmp_path / "private"

    def guarded(original: Any) -> Any:
        def method(self: Path, *args: Any, **kwargs: Any) -> Any:
            if private in self.parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
            return original(self, *args, **kwargs)

        return method

    for name in ("mkdir", "is_dir", "iterdir", "stat"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))
    with pytest.raises(DataDirectoryError, match=r"can't use the data directory .*private.x: permission denied"):
        await serve(Settings(listen="tcp://127.0.0.1:0", data_dir=private / "x"))


async def test_buckets_that_must_not_be_listed(tmp_path, monkeypatch) -> None:
    original = Path.iterdir

    def iterdir(self: Path) -> Any:
        if self.name == "buckets":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return original(self)

    open_engine("lmdb", tmp_path / "data", fsync="no").close()
    (tmp_path / "data" / "buckets").mkdir()
    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DataDirectoryError, match=r"can't read the buckets in .*: [Pp]ermission denied"):
        await serve(Settings(listen="tcp://127.0.0.1:0", data_dir=tmp_path / "data"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the user may enter everything")
async def test_permissions_that_are_not_there(tmp_path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0)
    try:
        with pytest.raises(DataDirectoryError, match=r"[Pp]ermission denied"):
            await serve(Settings(listen="tcp://127.0.0.1:0", data_dir=private / "x"))
    finally:
        private.chmod(0o700)


async def test_a_damaged_manifest(tmp_path) -> None:
    with open_engine("lmdb", tmp_path / "data", fsync="no") as engine:
        engine.execute([Remember(b"manifest", b"{}")])
    for _ in range(2):  # the directory is let go of
        with pytest.raises(DataDirectoryError, match="the stored manifest of the bucket default is damaged"):
            await serve(Settings(listen="tcp://127.0.0.1:0", data_dir=tmp_path / "data"))
