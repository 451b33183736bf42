"""Snapshots of the database's files: prepare, fragments, release."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading

import google_crc32c
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from support.service import start_service
from trio_spool.engine import ENGINES, DataDirectoryError, EngineKind, open_engine
from trio_spool.mcbp import (
    HEADER,
    Feature,
    FragmentRequest,
    Opcode,
    Status,
    encode_fragment_request,
    encode_request,
)
from trio_spool.server import Settings, serve
from trio_spool.server.commands.snapshots import PIECE
from trio_spool.server.protocols.binary._snapshots import frame_in_thread

EXTRAS = bytes(8)


@pytest.fixture
async def service(run_service, tmp_path):
    async with run_service(engine="lmdb", data_dir=tmp_path / "data", fsync="no", max_snapshots=2, drain_timeout=1) as served:
        yield served


async def fill(raw, count: int, size: int = 100) -> None:
    await raw.send(*(encode_request(Opcode.SETQ, key=b"k%06d" % n, value=b"v" * size, extras=EXTRAS) for n in range(count)))
    await raw.call(Opcode.NOOP)


async def prepare(raw) -> dict:
    reply = await raw.call(Opcode.PREPARE_SNAPSHOT, value=b'{"storage":{"backend":"any"}}')
    assert reply.status == 0, reply
    return json.loads(reply.value)


def asked(uuid: str, number: int, offset: int, length: int, every: int = 0, **kwargs) -> bytes:
    value = encode_fragment_request(FragmentRequest(id=number, offset=offset, length=length, checksum_length=every))
    return encode_request(Opcode.GET_FILE_FRAGMENT, key=uuid.encode(), value=value, **kwargs)


async def fragment(raw, *args: object):
    await raw.send(asked(*args))
    return await raw.receive()


async def test_a_snapshot_can_be_copied_and_served(service, raw, tmp_path) -> None:
    await fill(raw, 1000)
    manifest = await prepare(raw)
    await raw.call(Opcode.SET, key=b"later", extras=EXTRAS)
    copy = tmp_path / "copy"
    copy.mkdir()
    assert [file["path"] for file in manifest["files"]] == ["data.mdb", "trio-spool.json"]
    for file in manifest["files"]:
        reply = await fragment(raw, manifest["uuid"], file["id"], 0, int(file["size"]))
        assert (reply.status, len(reply.value)) == (0, int(file["size"]))
        assert hashlib.sha512(reply.value).hexdigest() == file["sha512"]
        (copy / file["path"]).write_bytes(reply.value)
    assert (await raw.call(Opcode.RELEASE_SNAPSHOT, key=manifest["uuid"].encode())).status == 0
    with open_engine("lmdb", copy) as engine, engine.snapshot() as snapshot:
        assert [record[0] for record in snapshot.records()] == [b"\0k%06d" % n for n in range(1000)]
        assert snapshot.seqno == 1000
        assert engine.identity != service.inside.buckets.default.engine.identity


async def test_any_piece(service, raw, tmp_path) -> None:
    await fill(raw, 5000, 300)
    manifest = await prepare(raw)
    uuid, size = manifest["uuid"], int(manifest["files"][0]["size"])
    content = (tmp_path / "data" / "snapshots" / uuid / "data.mdb").read_bytes()
    assert len(content) == size > 3 * PIECE
    for offset, length in [(0, 0), (0, 1), (size, 0), (size - 1, 1), (7, PIECE), (12345, 2 * PIECE + 7), (0, size)]:
        for every in (0, 1 << 30, 65536, 1000):
            reply = await fragment(raw, uuid, 1, offset, length, every)
            assert reply.status == 0
            assert strip(reply.value, every) == content[offset : offset + length]


def strip(body: bytes, every: int) -> bytes:
    """Check and remove checksums."""
    if not every:
        return body
    data = b""
    while body:
        piece, body = body[: every + 4], body[every + 4 :]
        piece, checksum = piece[:-4], piece[-4:]
        assert google_crc32c.value(piece) == int.from_bytes(checksum, "big")
        data += piece
    return data


@given(st.binary(max_size=2000), st.data())
def test_any_fragment_of_any_file(tmp_path_factory, content: bytes, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("file") / "file"
    path.write_bytes(content)
    offset = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, len(content) - offset))
    every = data.draw(st.integers(0, 50) | st.just(10**9))
    request = FragmentRequest(id=1, offset=offset, length=length, checksum_length=every)
    response = b"".join(frame_in_thread(path, request, 5, data.draw(st.integers(1, 300))))
    body = response[HEADER.size :]
    assert len(body) == request.body_length == HEADER.unpack_from(response)[6]
    assert strip(body, every) == content[offset : offset + length]


async def test_refusals(service, raw) -> None:
    await fill(raw, 10)
    manifest = await prepare(raw)
    uuid, size = manifest["uuid"], int(manifest["files"][0]["size"])
    assert (await fragment(raw, uuid, 1, 0, size + 1)).status == Status.INVALID
    assert (await fragment(raw, uuid, 1, size, 1)).status == Status.INVALID
    assert (await fragment(raw, uuid, 1, 2**64, 1)).status == Status.INVALID
    assert (await fragment(raw, uuid, 3, 0, 1)).status == Status.NOT_FOUND
    assert (await fragment(raw, uuid, 0, 0, 1)).status == Status.NOT_FOUND
    assert (await fragment(raw, "../" + uuid, 1, 0, 1)).status == Status.NOT_FOUND
    assert (await raw.call(Opcode.GET_FILE_FRAGMENT, key=uuid.encode(), value=b"{}")).status == Status.INVALID
    assert (await raw.call(Opcode.RELEASE_SNAPSHOT, key=b"none")).status == Status.NOT_FOUND
    assert (await raw.call(Opcode.PREPARE_SNAPSHOT, value=b"[]")).status == Status.INVALID
    assert (await raw.call(Opcode.PREPARE_SNAPSHOT, value=b"{")).status == Status.INVALID
    assert (await raw.call(Opcode.PREPARE_SNAPSHOT, vbucket=1)).status == Status.NOT_MY_VBUCKET
    assert (await raw.call(Opcode.NOOP)).status == 0


async def test_an_engine_without_files(run_service) -> None:
    async with run_service() as service, service.connect() as raw:
        await raw.hello(Feature.XERROR)
        reply = await raw.call(Opcode.PREPARE_SNAPSHOT)
        assert (reply.status, b"memory" in reply.value) == (Status.NOT_SUPPORTED, True)


async def test_too_many(service, raw) -> None:
    first = await prepare(raw)
    await prepare(raw)
    assert (await raw.call(Opcode.PREPARE_SNAPSHOT)).status == Status.TEMPORARY_FAILURE
    await raw.call(Opcode.RELEASE_SNAPSHOT, key=first["uuid"].encode())
    await prepare(raw)


async def test_what_is_released_is_gone(service, raw, tmp_path) -> None:
    manifest = await prepare(raw)
    directory = tmp_path / "data" / "snapshots"
    assert len(list(directory.iterdir())) == 1
    assert (await raw.call(Opcode.RELEASE_SNAPSHOT, key=manifest["uuid"].encode())).status == 0
    assert list(directory.iterdir()) == []
    assert (await fragment(raw, manifest["uuid"], 1, 0, 1)).status == Status.NOT_FOUND


async def test_a_snapshot_survives_its_connection_and_not_its_idle_time(service, raw, tmp_path, until) -> None:
    async with service.connect() as other:
        manifest = await prepare(other)
    await until(lambda: len(service.inside.connections) == 1)
    assert (await fragment(raw, manifest["uuid"], 1, 0, 1)).status == 0
    (snapshot,) = service.inside.snapshots
    await until(lambda: not snapshot.readers)
    snapshot.used -= 299
    assert service.inside.snapshots.take_idle() == []
    snapshot.readers = 1  # a fragment that takes longer
    snapshot.used -= 2
    assert service.inside.snapshots.take_idle() == []
    snapshot.readers = 0
    await until(lambda: list((tmp_path / "data" / "snapshots").iterdir()) == [])
    assert (await fragment(raw, manifest["uuid"], 1, 0, 1)).status == Status.NOT_FOUND
    assert service.inside.snapshots.expired == 1


async def test_they_are_removed_at_the_end_and_at_the_start(run_service, tmp_path) -> None:
    directory = tmp_path / "data" / "snapshots"
    async with run_service(engine="lmdb", data_dir=tmp_path / "data") as service, service.connect() as raw:
        await prepare(raw)
        assert directory.exists()
    assert not directory.exists()
    (directory / "left").mkdir(parents=True)
    (directory / "left" / "data.mdb").write_bytes(b"by a service that was killed")
    async with run_service(engine="lmdb", data_dir=tmp_path / "data") as service:
        assert not directory.exists()


async def test_a_full_disk_is_a_temporary_failure(run_service, tmp_path) -> None:
    def open_full(options):
        engine = ENGINES["memory"].open(options)

        def copy_files(directory, check):
            directory.mkdir(parents=True)
            (directory / "data.mdb").write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        engine.copy_files = copy_files
        return engine

    kind = EngineKind("full", needs_directory=True, open=open_full)
    async with run_service(engine=kind, data_dir=tmp_path / "data") as service, service.connect() as raw:
        await raw.hello(Feature.XERROR)
        reply = await raw.call(Opcode.PREPARE_SNAPSHOT)
        assert (reply.status, b"no space left" in reply.value) == (Status.TEMPORARY_FAILURE, True)
        assert list((tmp_path / "data" / "snapshots").iterdir()) == []
        assert list(service.inside.snapshots) == []


async def test_leaving_stops_a_copy(run_service, tmp_path, until) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def open_slow(options):
        engine = ENGINES["lmdb"].open(options)
        copy = engine.copy

        def copy_slowly(take) -> None:
            def slowly(piece: bytes) -> None:
                reached.set()
                assert go_on.wait(20)
                take(piece)

            copy(slowly)

        engine.copy = copy_slowly
        return engine

    kind = EngineKind("slow", needs_directory=True, open=open_slow)
    async with run_service(engine=kind, data_dir=tmp_path / "data") as service, service.connect() as raw:
        await fill(raw, 100)
        async with service.connect() as leaving:
            await leaving.send(encode_request(Opcode.PREPARE_SNAPSHOT))
            assert await trio.to_thread.run_sync(reached.wait, 20)
            assert [snapshot.describe()["state"] for snapshot in service.inside.snapshots] == ["copying"]
            # Others write meanwhile.
            assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        await wait_all_tasks_blocked()
        go_on.set()
        await until(lambda: not list(service.inside.snapshots) and not list((tmp_path / "data" / "snapshots").iterdir()))
        assert service.inside.copiers.borrowed_tokens == 0


async def test_a_file_that_can_not_be_opened_is_an_error(service, raw, tmp_path) -> None:
    manifest = await prepare(raw)
    (tmp_path / "data" / "snapshots" / manifest["uuid"] / "data.mdb").unlink()
    assert (await fragment(raw, manifest["uuid"], 1, 0, 10)).status == Status.INTERNAL
    assert (await raw.call(Opcode.NOOP)).status == 0


@pytest.mark.parametrize("unordered", [False, True])
async def test_a_failure_behind_the_header_disconnects(service, raw, tmp_path, unordered: bool) -> None:
    await fill(raw, 5000, 1000)
    if unordered:
        await raw.hello(Feature.UNORDERED_EXECUTION)
    manifest = await prepare(raw)
    uuid, size = manifest["uuid"], int(manifest["files"][0]["size"])
    path = tmp_path / "data" / "snapshots" / uuid / "data.mdb"
    path.write_bytes(path.read_bytes()[: size - 10])
    await raw.send(asked(uuid, 1, 0, size, opaque=1), encode_request(Opcode.GET, key=b"k000001", opaque=2))
    received = b""
    try:
        while data := await raw.stream.receive_some(1 << 20):
            received += bytes(data)
    except trio.BrokenResourceError:
        pass
    if received[1] == Opcode.GET:  # it overtook the fragment
        assert unordered
        received = received[HEADER.size + HEADER.unpack_from(received)[6] :]
    assert HEADER.unpack_from(received)[6] == size
    assert len(received) < HEADER.size + size
    assert received[HEADER.size :] == path.read_bytes()[: len(received) - HEADER.size]  # and no reply to the other request


async def test_a_fragment_is_never_interleaved(service, raw, tmp_path) -> None:
    await raw.hello(Feature.UNORDERED_EXECUTION)
    await fill(raw, 20_000, 500)
    manifest = await prepare(raw)
    uuid, size = manifest["uuid"], int(manifest["files"][0]["size"])
    content = (tmp_path / "data" / "snapshots" / uuid / "data.mdb").read_bytes()
    await raw.send(
        encode_request(Opcode.STAT, key=b"keys", opaque=1), asked(uuid, 1, 0, size, 4096, opaque=2), asked(uuid, 1, 7, 9, opaque=3),
        encode_request(Opcode.GET, key=b"k000001", opaque=4), encode_request(Opcode.STAT, key=b"keys", opaque=5),
        encode_request(Opcode.GET, key=b"k000001", opaque=6), encode_request(Opcode.NOOP, opaque=7),
    )  # fmt: skip
    replies: dict[int, list] = {}
    while (response := await raw.receive()).opaque != 7:
        replies.setdefault(response.opaque, []).append(response)
    assert strip(replies[2][0].value, 4096) == content
    assert replies[3][0].value == content[7:16]
    assert len(replies[1]) == len(replies[5]) == 20_001
    assert replies[4][0].status == replies[6][0].status == 0


async def test_leaving_in_a_fragment(service, raw, until) -> None:
    await fill(raw, 20_000, 1000)
    async with service.connect() as leaving:
        manifest = await prepare(leaving)
        await leaving.send(asked(manifest["uuid"], 1, 0, int(manifest["files"][0]["size"])))
        await leaving.stream.receive_some(1000)
        (snapshot,) = service.inside.snapshots
        assert (snapshot.readers, snapshot.describe()["state"]) == (1, "sending")
    await until(lambda: snapshot.readers == 0 and service.inside.limiter.borrowed_tokens == 0)
    assert (await fragment(raw, manifest["uuid"], 1, 0, 10)).status == 0


async def test_the_group_snapshots(service, raw) -> None:
    await fill(raw, 10)
    manifest = await prepare(raw)
    await raw.send(encode_request(Opcode.STAT, key=b"snapshots"))
    found = {}
    while (response := await raw.receive()).key:
        found[response.key] = response.value
    assert (found[b"kept"], found[b"kept_max"], found[b"prepared"]) == (b"1", b"2", b"1")
    described = json.loads(found[manifest["uuid"].encode()])
    assert (described["state"], described["seqno"], described["files"]) == ("ready", 10, 2)
    assert (await raw.call(Opcode.STAT, key=b"snapshots x")).status == Status.NOT_FOUND
    assert (await raw.call(Opcode.STAT, key=b"tasks x")).status == Status.NOT_FOUND


async def test_a_second_service_leaves_the_snapshots_of_the_first_alone(raw, service, tmp_path) -> None:
    await fill(raw, 10)
    await prepare(raw)
    directory = tmp_path / "data"
    before = sorted(path.name for path in (directory / "snapshots").rglob("*"))
    assert before
    with pytest.raises(DataDirectoryError, match="in use"):
        await serve(Settings(listen=("tcp://127.0.0.1:0",), data_dir=directory))
    assert sorted(path.name for path in (directory / "snapshots").rglob("*")) == before


async def test_cancelling_the_service_leaves_nothing(tmp_path) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            served = await start_service(nursery, data_dir=tmp_path / "data")
            stream = await trio.open_tcp_stream("127.0.0.1", served.port)
            async with stream:
                await stream.send_all(encode_request(Opcode.PREPARE_SNAPSHOT))
                await stream.receive_some(24)
                nursery.cancel_scope.cancel()
    assert not (tmp_path / "data" / "snapshots").exists()
