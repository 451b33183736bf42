"""Scans, lists of keys, and snapshots of the files, as the client library gives them."""

from __future__ import annotations

import json
import sys

import pytest
import trio

from support.replies import reply_to
from trio_spool import open_sender
from trio_spool.client import (
    ChecksumError,
    Client,
    ConnectionLostError,
    NotFoundError,
    ScanCancelledError,
    ServerError,
    TemporaryFailureError,
    open_client,
)
from trio_spool.mcbp import (
    DOCUMENTS_EXTRAS,
    Feature,
    FragmentRequest,
    Opcode,
    SnapshotRequirements,
    Status,
    encode_response,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401


async def fill(client: Client, count: int, size: int = 10) -> None:
    calls = [await client.begin_set(b"key-%05d" % number, b"v" * size, flags=number) for number in range(count)]
    for call in calls:
        await client.finish_set(call)


async def keys_of(client: Client, **arguments) -> list[bytes]:
    async with client.scan(**arguments) as documents:
        return [document.key async for document in documents]


async def statistic(port: int, group: str, wanted: bytes) -> bytes:
    async with open_client("127.0.0.1", port) as client, client.stat(group) as statistics:
        return {name: value async for name, value in statistics}[wanted]


async def test_ranges(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        assert await keys_of(client) == []
        assert await keys_of(client, prefix=b"key") == []
        await fill(client, 100)
        await client.set(b"other", b"x", flags=7, expiry=1000)
        every = [b"key-%05d" % number for number in range(100)]
        assert await keys_of(client) == [*every, b"other"]
        assert await keys_of(client, prefix=b"key-") == every
        assert await keys_of(client, prefix=b"key-0001") == every[10:20]
        assert await keys_of(client, start=every[20], end=every[30]) == every[20:30]
        assert await keys_of(client, start=b"o", keys_only=True) == [b"other"]
        sample = await keys_of(client, samples=10, seed=3)
        assert 0 < len(sample) < 50
        assert sample == await keys_of(client, samples=10, seed=3)
        async with client.scan(start=b"other") as documents:
            (document,) = [document async for document in documents]
        assert (document.key, document.value, document.flags) == (b"other", b"x", 7)
        assert document.expiry > 0
        assert document.cas == (await client.get(b"other")).cas
        for contradiction in ({"prefix": b"a", "start": b"b"}, {"samples": 3, "prefix": b"a"}):
            with pytest.raises(ValueError, match="a scan can have a"):
                await keys_of(client, **contradiction)


async def test_all_vbuckets(start_service) -> None:
    port = await start_service(engine="memory", vbuckets=64)
    async with open_client("127.0.0.1", port) as client:
        await client.hello("test", (Feature.XERROR,))
        await fill(client, 1000)
        every = [b"key-%05d" % number for number in range(1000)]
        assert await keys_of(client) == every
        assert await keys_of(client, prefix=b"key-0001", keys_only=True) == every[10:20]
        assert await keys_of(client, start=every[20], end=every[30]) == every[20:30]
        assert await keys_of(client, prefix=b"nothing") == []
        sample = await keys_of(client, samples=200, seed=3)
        assert 100 < len(sample) < 300
        assert sample == sorted(sample) == await keys_of(client, samples=200, seed=3)
        with pytest.raises(ServerError, match=r"no vbucket has the uuid 1; vbucket 0 has \d+"):
            await keys_of(client, requirements=SnapshotRequirements(vbucket_uuid=1, seqno=1))
        async with client.stat("vbucket-details 63") as statistics:
            uuid = {name: int(value) async for name, value in statistics if name.endswith(b"uuid")}[b"vb_63:uuid"]
        assert await keys_of(client, requirements=SnapshotRequirements(vbucket_uuid=uuid, seqno=1000)) == every


async def test_other_calls_while_a_scan_is_iterated_over(start_service) -> None:
    port = await start_service(engine="memory")
    async with open_client("127.0.0.1", port) as client:
        await fill(client, 3000, 1000)  # several continues
        number = 0
        async with client.scan() as documents:
            async for document in documents:
                if number % 100 == 0:
                    assert (await client.get(document.key)).flags == number
                    await client.set(document.key, b"new")  # is not seen by this scan
                assert document.value == b"v" * 1000
                number += 1
        assert number == 3000


async def test_leaving_early_ends_the_scan_on_the_server(start_service) -> None:
    port = await start_service(engine="memory", max_scans=1)
    async with open_client("127.0.0.1", port) as client:
        await fill(client, 3000, 1000)
        for _ in range(3):  # each needs the one place there is
            async with client.scan() as documents:
                assert (await documents.__anext__()).key == b"key-00000"
                with pytest.raises(TemporaryFailureError, match="range_scan_create"):
                    await keys_of(client)
        with pytest.raises(RuntimeError, match="a bug of the user"):
            async with client.scan() as documents:
                raise RuntimeError("a bug of the user")
        assert len(await keys_of(client, keys_only=True)) == 3000


async def test_a_scan_that_the_server_ends(start_service, tmp_path) -> None:
    port = await start_service(engine="memory", max_scan_life=0.2)
    async with open_client("127.0.0.1", port) as client:
        await fill(client, 5000, 1000)
        async with client.scan() as documents:
            await documents.__anext__()
            while await statistic(port, "engine", b"snapshots") != b"0":
                await trio.sleep(0.01)
            with pytest.raises(ScanCancelledError):
                async for _ in documents:
                    pass
            assert [document async for document in documents] == []
        await client.noop()


async def test_requirements(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        await fill(client, 1)
        with pytest.raises(ServerError, match="uuid"):
            await keys_of(client, requirements=SnapshotRequirements(vbucket_uuid=1, seqno=1))


async def test_lists_of_keys(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        assert await client.get_keys() == []
        await fill(client, 10)
        assert await client.get_keys(b"key-00003", 4) == [b"key-%05d" % number for number in range(3, 7)]


async def test_snapshots(start_service, tmp_path) -> None:
    port = await start_service(engine="lmdb", data_dir=tmp_path / "data")
    async with open_client("127.0.0.1", port) as client:
        await fill(client, 100)
        manifest = await client.prepare_snapshot()
        assert [file.path for file in manifest.files] == ["data.mdb", "trio-spool.json"]
        assert manifest.size == sum(file.size for file in manifest.files)
        file = manifest.files[0]
        whole = await client.fragment(manifest.uuid, FragmentRequest(id=file.id, offset=0, length=file.size))
        checked = await client.fragment(
            manifest.uuid, FragmentRequest(id=file.id, offset=5, length=file.size - 5, checksum_length=1000)
        )
        assert checked == whole[5:]
        with pytest.raises(ServerError):
            await client.fragment(manifest.uuid, FragmentRequest(id=file.id, offset=1, length=file.size))
        await client.release_snapshot(manifest.uuid)
        with pytest.raises(NotFoundError):
            await client.release_snapshot(manifest.uuid)


async def test_an_engine_without_files(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        await client.hello("test", (Feature.XERROR,))
        with pytest.raises(ServerError, match=r"memory.*status 0x83"):
            await client.prepare_snapshot()


async def test_errors_with_a_context(port: int) -> None:
    async with open_client("127.0.0.1", port) as client:
        await client.hello("test", (Feature.XERROR,))
        with pytest.raises(ServerError, match=r"uuid.*\(status 0xa8\)"):
            await keys_of(client, requirements=SnapshotRequirements(vbucket_uuid=1, seqno=1))


# Servers that do not do what they should.


class Scripted:
    """A client, and a peer that answers each request with the next of these frames."""

    def __init__(self, nursery: trio.Nursery, *answers: bytes) -> None:
        self._nursery = nursery
        self._answers = answers

    async def __aenter__(self) -> Client:
        left, self._right = trio.testing.memory_stream_pair()
        self._sender = open_sender(left)
        client = Client(left, await self._sender.__aenter__(), 1000)
        self._nursery.start_soon(client.receive)
        self._nursery.start_soon(self._answer)
        self._left = left
        return client

    async def _answer(self) -> None:
        for answer in self._answers:
            request = await self._right.receive_some(65536)
            await self._right.send_all(reply_to(request, answer))

    async def __aexit__(self, *details: object) -> None:
        await self._right.aclose()
        await self._sender.__aexit__(None, None, None)
        await self._left.aclose()
        self._nursery.cancel_scope.cancel()


async def test_a_server_that_scans_single_vbuckets_only(nursery) -> None:
    async with Scripted(nursery, encode_response(Opcode.RANGE_SCAN_CREATE, Status.NOT_MY_VBUCKET, 0)) as client:
        with pytest.raises(ServerError, match="can't scan all its vbuckets at once"):
            await keys_of(client)


CREATED = encode_response(Opcode.RANGE_SCAN_CREATE, 0, 0, value=b"u" * 16)


async def test_a_scan_that_meets_a_damaged_document(nursery) -> None:
    failed = encode_response(Opcode.RANGE_SCAN_CONTINUE, Status.INTERNAL, 0)
    async with Scripted(nursery, CREATED, failed) as client:
        with pytest.raises(ServerError, match=r"can't read a document; its log says which one.*status 0x84"):
            await keys_of(client)


@pytest.mark.parametrize(
    ("status", "extras", "value"),
    [
        (Status.SCAN_COMPLETE, DOCUMENTS_EXTRAS, b"\0" * 10),  # half of a document
        (Status.SCAN_COMPLETE, bytes(4), b"\x05key"),
    ],
)
async def test_a_frame_of_a_scan_that_is_cut_off(nursery, status: int, extras: bytes, value: bytes) -> None:
    frame = encode_response(Opcode.RANGE_SCAN_CONTINUE, status, 0, extras=extras, value=value)
    async with Scripted(nursery, CREATED, frame) as client:
        with pytest.raises(ConnectionLostError, match="malformed frame of a scan"):
            await keys_of(client)


@pytest.mark.parametrize("value", [b"\0", b"\0\3ab"])
async def test_keys_that_are_cut_off(nursery, value: bytes) -> None:
    async with Scripted(nursery, encode_response(Opcode.GET_KEYS, 0, 0, value=value)) as client:
        with pytest.raises(ConnectionLostError, match="cut off"):
            await client.get_keys()


FILE = {"id": 1, "path": "data.mdb", "size": "10"}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"[", "other than the manifest"),
        (b"{}", "other than the manifest"),
        (json.dumps({"uuid": "u", "files": [{**FILE, "size": "-1"}]}).encode(), "other than the manifest"),
        (json.dumps({"uuid": "u", "files": [{**FILE, "sha512": 3}]}).encode(), "other than the manifest"),
        (json.dumps({"uuid": "u", "files": [FILE, FILE]}).encode(), "has a file twice"),
        (json.dumps({"uuid": "u", "files": [{**FILE, "path": "../data.mdb"}]}).encode(), "not a plain name"),
        (json.dumps({"uuid": "u", "files": [{**FILE, "path": "/etc/passwd"}]}).encode(), "not a plain name"),
        (json.dumps({"uuid": "u", "files": [{**FILE, "path": ".."}]}).encode(), "not a plain name"),
    ],
)
async def test_a_manifest_that_is_none(nursery, manifest: bytes, message: str) -> None:
    async with Scripted(nursery, encode_response(Opcode.PREPARE_SNAPSHOT, 0, 0, value=manifest)) as client:
        with pytest.raises(ConnectionLostError, match=message):
            await client.prepare_snapshot()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (bytes(21), ConnectionLostError, "21 bytes of a file, not 22"),
        (b"0123456" + bytes(4) + b"789abcd" + bytes(4), ChecksumError, "the 7 bytes at offset 100"),
    ],
)
async def test_a_fragment_that_is_damaged(nursery, body: bytes, error: type[Exception], message: str) -> None:
    async with Scripted(nursery, encode_response(Opcode.GET_FILE_FRAGMENT, 0, 0, value=body)) as client:
        with pytest.raises(error, match=message):
            await client.fragment("u", FragmentRequest(id=1, offset=100, length=14, checksum_length=7))
