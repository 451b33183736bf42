"""Locks, what is known of items beside their values, and what frames carry beside their bodies, by the frame."""

from __future__ import annotations

import json
import struct
import time

import attrs
import cramjam
import pytest

from trio_spool.engine import ENGINES, EngineKind
from trio_spool.mcbp import (
    DataType,
    Feature,
    FrameInfo,
    FrameInfoId,
    Opcode,
    Status,
    decode_server_duration,
    encode_frame_infos,
    encode_request,
)
from trio_spool.server.protocols.binary._table import TABLE

EXTRAS = bytes(8)
LOCKED_CAS = 0xFFFFFFFFFFFFFFFF
FAR = 4_000_000_000
LIMIT = 100_000


@pytest.fixture(params=["memory", "lmdb"])
async def service(request, run_service, tmp_path):
    options = {"engine": request.param, "fsync": "no", "max_item_size": LIMIT}
    if request.param == "lmdb":
        options["data_dir"] = tmp_path / "data"
    async with run_service(**options) as served:
        yield served


async def put(raw, value: bytes = b"v", key: bytes = b"k", expiry: int = 0, **kwargs):
    return await raw.call(Opcode.SET, key=key, value=value, extras=struct.pack(">LL", 7, expiry), **kwargs)


async def lock(raw, seconds: int | None = None, key: bytes = b"k"):
    extras = b"" if seconds is None else seconds.to_bytes(4, "big")
    return await raw.call(Opcode.GET_LOCKED, key=key, extras=extras)


async def unlock(raw, cas: int, key: bytes = b"k") -> int:
    return (await raw.call(Opcode.UNLOCK_KEY, key=key, cas=cas)).status


async def meta(raw, key: bytes = b"k", version: bytes = b"\2") -> tuple[int, ...]:
    """Return deleted, flags, expiry, sequence number, and datatype if that was asked for."""
    reply = await raw.call(Opcode.GET_META, key=key, extras=version)
    assert (reply.status, reply.value) == (0, b"")
    return struct.unpack(">LLLQB" if version == b"\2" else ">LLLQ", reply.extras)


# Locks


async def test_lock_and_unlock(raw) -> None:
    await raw.hello(Feature.XERROR)
    stored = await put(raw)
    locked = await lock(raw, 15)
    assert (locked.status, locked.value, locked.extras) == (0, b"v", b"\0\0\0\7")
    assert locked.cas not in (0, stored.cas, LOCKED_CAS)
    assert (await lock(raw, 15)).status == Status.LOCKED
    assert (await put(raw, b"w")).status == Status.LOCKED
    assert (await put(raw, b"w", cas=stored.cas)).status == Status.LOCKED
    assert await unlock(raw, stored.cas) == Status.LOCKED
    assert await unlock(raw, LOCKED_CAS) == Status.LOCKED
    assert (await raw.call(Opcode.GET, key=b"k")).value == b"v"
    assert await unlock(raw, locked.cas) == 0
    assert await unlock(raw, locked.cas) == Status.NOT_LOCKED
    assert (await put(raw, b"w")).status == 0


async def test_whoever_has_the_cas_may_change_the_item(raw) -> None:
    await raw.hello(Feature.XERROR)
    for opcode, kwargs in (
        (Opcode.SET, {"extras": EXTRAS, "value": b"w"}),
        (Opcode.REPLACE, {"extras": EXTRAS, "value": b"w"}),
        (Opcode.APPEND, {"value": b"w"}),
        (Opcode.DELETE, {}),
    ):
        await put(raw)
        cas = (await lock(raw)).cas
        assert (await raw.call(opcode, key=b"k", cas=cas, **kwargs)).status == 0
        assert await unlock(raw, cas) in (Status.NOT_LOCKED, Status.NOT_FOUND)
        assert (await put(raw)).status == 0


@pytest.mark.parametrize(
    ("features", "locking", "changing", "not_locked"),
    [
        ((Feature.XERROR,), Status.LOCKED, Status.LOCKED, Status.NOT_LOCKED),
        ((Feature.JSON,), Status.TEMPORARY_FAILURE, Status.EXISTS, Status.TEMPORARY_FAILURE),
        ((), Status.TEMPORARY_FAILURE, Status.EXISTS, Status.TEMPORARY_FAILURE),
    ],
)
async def test_statuses(service, raw, features, locking: int, changing: int, not_locked: int) -> None:
    await put(raw, b"1")
    if features:
        await raw.hello(*features)
    assert await unlock(raw, 5) == not_locked
    cas = (await lock(raw)).cas
    assert (await lock(raw)).status == locking
    assert await unlock(raw, cas + 1) == locking
    for opcode in (
        Opcode.SET, Opcode.REPLACE, Opcode.APPEND, Opcode.INCREMENT, Opcode.DELETE, Opcode.TOUCH, Opcode.GAT, Opcode.SETQ,
    ):  # fmt: skip
        await raw.send(raw.plain_frame(opcode))
        reply = await raw.receive()
        assert (reply.opcode, reply.status) == (opcode, changing), opcode
        assert bool(reply.value) == (not features)
    await raw.send(raw.plain_frame(Opcode.ADD))
    assert (await raw.receive()).status == Status.EXISTS
    assert await unlock(raw, cas) == 0


async def test_what_can_not_be_locked(raw) -> None:
    await raw.hello(Feature.XERROR)
    assert (await lock(raw)).status == Status.NOT_FOUND
    assert await unlock(raw, 5) == Status.NOT_FOUND
    await put(raw)
    assert await unlock(raw, 0) == Status.INVALID
    for seconds in (0, 1, 30, 31, 0xFFFFFFFF):
        reply = await lock(raw, seconds)
        assert reply.status == 0
        assert await unlock(raw, reply.cas) == 0


@pytest.mark.parametrize("features", [(), (Feature.XERROR, Feature.XATTR), (Feature.COLLECTIONS, Feature.XERROR)])
async def test_the_cas_of_a_locked_item_is_not_shown(raw, features) -> None:
    if features:
        await raw.hello(*features)
    prefix = b"\0" if Feature.COLLECTIONS in features else b""
    for key in (b"k", b"l"):
        await put(raw, key=prefix + key)
    cas = (await lock(raw, key=prefix + b"k")).cas
    for opcode in (Opcode.GET, Opcode.GETK, Opcode.GETQ, Opcode.GETKQ, Opcode.GET_META):
        assert (await raw.call(opcode, key=prefix + b"k")).cas == LOCKED_CAS
        assert (await raw.call(opcode, key=prefix + b"l")).cas not in (0, LOCKED_CAS)
    extras = struct.pack(">HB", 1, 0)
    assert (await raw.call(Opcode.SUBDOC_GET, key=prefix + b"k", extras=extras, value=b"a")).cas == 0
    whole = struct.pack(">BBH", Opcode.GET, 0, 0)
    assert (await raw.call(Opcode.SUBDOC_MULTI_LOOKUP, key=prefix + b"k", value=whole)).cas == LOCKED_CAS
    random = {(reply := await raw.call(Opcode.GET_RANDOM_KEY)).key: reply.cas for _ in range(100)}
    assert (random[prefix + b"k"], random[prefix + b"l"] == LOCKED_CAS) == (LOCKED_CAS, False)
    # In runs, and behind something that is still to be carried out.
    gets = [encode_request(Opcode.GET, key=prefix + key) for key in (b"l", b"k", b"none", b"k", b"l")]
    for before in ([], [encode_request(Opcode.SETQ, key=prefix + b"m", extras=EXTRAS)]):
        await raw.send(*before, *gets)
        replies = [await raw.receive() for _ in gets]
        assert [reply.cas == LOCKED_CAS for reply in replies] == [False, True, False, True, False]
        assert [reply.status for reply in replies] == [0, 0, Status.NOT_FOUND, 0, 0]
    await raw.send(encode_request(Opcode.UNLOCK_KEY, key=prefix + b"k", cas=cas), *gets)
    assert (await raw.receive()).status == 0
    assert LOCKED_CAS not in [(await raw.receive()).cas for _ in gets]


async def test_a_lock_in_a_pipeline(raw) -> None:
    await raw.hello(Feature.XERROR)
    await raw.send(
        encode_request(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS),
        encode_request(Opcode.GET_LOCKED, key=b"k"),
        encode_request(Opcode.GET, key=b"k"),
        encode_request(Opcode.DELETE, key=b"k"),
        encode_request(Opcode.GET_LOCKED, key=b"k"),
    )
    replies = [await raw.receive() for _ in range(5)]
    assert [reply.status for reply in replies] == [0, 0, 0, Status.LOCKED, Status.LOCKED]
    assert replies[2].cas == LOCKED_CAS != replies[1].cas


async def test_a_lock_ends(run_service) -> None:
    now = 5.0
    memory = ENGINES["memory"]
    kind = EngineKind(
        "clocked", needs_directory=False, open=lambda options: memory.open(attrs.evolve(options, steady_clock=lambda: now))
    )
    async with run_service(engine=kind) as service, service.connect() as raw:
        await raw.hello(Feature.XERROR)
        await put(raw)
        cas = (await lock(raw, 10)).cas
        now += 9
        assert (await put(raw)).status == Status.LOCKED
        now += 2
        assert (await raw.call(Opcode.GET, key=b"k")).cas == cas
        assert await unlock(raw, cas) == Status.NOT_LOCKED
        assert (await put(raw)).status == 0


async def test_flush_ends_locks(service, raw) -> None:
    await put(raw)
    await lock(raw)
    assert (await raw.call(Opcode.FLUSH)).status == 0
    assert (await put(raw)).status == 0


# What is known of an item


async def test_meta(raw) -> None:
    await raw.hello(Feature.JSON, Feature.MUTATION_SEQNO)
    stored = await put(raw, b"{}", expiry=FAR)
    _, seqno = struct.unpack(">QQ", stored.extras)
    assert await meta(raw) == (0, 7, FAR, seqno, 1)
    assert await meta(raw, version=b"\1") == await meta(raw, version=b"") == (0, 7, FAR, seqno)
    assert (await raw.call(Opcode.GET_META, key=b"k")).cas == stored.cas
    assert (await raw.call(Opcode.GET_META, key=b"none", extras=b"\2")).status == Status.NOT_FOUND
    await raw.send(
        encode_request(Opcode.DELETE, key=b"k"),
        encode_request(Opcode.GET_META, key=b"k"),
        encode_request(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS),
        encode_request(Opcode.GET_META, key=b"k", extras=b"\2"),
    )
    replies = [await raw.receive() for _ in range(4)]
    assert [reply.status for reply in replies] == [0, Status.NOT_FOUND, 0, 0]
    assert struct.unpack(">LLLQB", replies[3].extras) == (0, 0, 0, seqno + 2, 0)


# Frame infos


def durability(level: int, timeout: bytes = b"") -> bytes:
    return encode_frame_infos([FrameInfo(FrameInfoId.DURABILITY, bytes([level]) + timeout)])


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
@pytest.mark.parametrize("timeout", [b"", b"\x03\xe8"])
async def test_durability(run_service, tmp_path, fsync: str, timeout: bytes) -> None:
    async with run_service(engine="lmdb", data_dir=tmp_path / "data", fsync=fsync) as service, service.connect() as raw:
        await raw.hello(Feature.SYNC_REPLICATION, Feature.ALT_REQUEST, Feature.XERROR, Feature.JSON)
        on_disk = 0 if fsync == "always" else Status.DURABILITY_IMPOSSIBLE
        expected = [Status.DURABILITY_INVALID_LEVEL, 0, on_disk, on_disk, *[Status.DURABILITY_INVALID_LEVEL] * 2]
        for level, status in zip((0, 1, 2, 3, 4, 255), expected, strict=True):
            key = b"%d" % level
            reply = await put(raw, key=key, framing=durability(level, timeout))
            assert reply.status == status
            assert bool(reply.value) == bool(status)
            # What is refused is not done.
            assert (await raw.call(Opcode.GET, key=key)).status == (Status.NOT_FOUND if status else 0)
            for opcode in (Opcode.DELETE, Opcode.INCREMENT, Opcode.TOUCH):
                await raw.send(raw.plain_frame(opcode, key=key, framing=durability(level, timeout)))
                assert (await raw.receive()).status == status


async def test_memory_is_not_the_disk(run_service) -> None:
    async with run_service(fsync="always") as service, service.connect() as raw:
        assert (await put(raw, framing=durability(1))).status == 0
        assert (await put(raw, framing=durability(3))).status == Status.DURABILITY_IMPOSSIBLE


BARRIER, KEEP = FrameInfo(FrameInfoId.BARRIER, b""), FrameInfo(FrameInfoId.PRESERVE_TTL, b"")


@pytest.mark.parametrize("place", range(3))
async def test_durability_stands_anywhere_among_the_frame_infos(run_service, place: int) -> None:
    async with run_service() as service, service.connect() as raw:
        for level, status in ((1, 0), (3, Status.DURABILITY_IMPOSSIBLE), (9, Status.DURABILITY_INVALID_LEVEL)):
            infos = [BARRIER, KEEP]
            infos.insert(place, FrameInfo(FrameInfoId.DURABILITY, bytes([level])))
            assert (await put(raw, framing=encode_frame_infos(infos))).status == status


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        (b"\x10", Status.INVALID),
        (b"\x12\1\0", Status.INVALID),
        (b"\x11", Status.INVALID),
        (b"\x51\0", Status.INVALID),
        (b"\x20", Status.UNKNOWN_FRAME_INFO),
        (b"\x41\0", Status.UNKNOWN_FRAME_INFO),
        (b"\xf0\0", Status.UNKNOWN_FRAME_INFO),
    ],
)
async def test_frame_infos_that_are_refused(raw, framing: bytes, status: int) -> None:
    for features in ((), (Feature.ALT_REQUEST,)):
        if features:
            await raw.hello(*features)
        assert (await put(raw, framing=framing)).status == status
        assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


@pytest.mark.parametrize("timeout", [b"\0\0", b"\xff\xff"])
async def test_durability_timeouts_that_are_none(raw, timeout: bytes) -> None:
    assert (await put(raw, framing=durability(1, timeout))).status == Status.INVALID
    assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


CHANGES = {
    Opcode.SET, Opcode.SETQ, Opcode.ADD, Opcode.ADDQ, Opcode.REPLACE, Opcode.REPLACEQ, Opcode.APPEND, Opcode.APPENDQ, Opcode.PREPEND,
    Opcode.PREPENDQ, Opcode.DELETE, Opcode.DELETEQ, Opcode.INCREMENT, Opcode.INCREMENTQ, Opcode.DECREMENT, Opcode.DECREMENTQ,
    Opcode.TOUCH, Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ, Opcode.SUBDOC_MULTI_MUTATION,
    Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR, *range(0xC7, 0xD0),
}  # fmt: skip
SETS_EXPIRY = {
    Opcode.ADD, Opcode.ADDQ, Opcode.DELETE, Opcode.DELETEQ, Opcode.TOUCH, Opcode.GAT, Opcode.GATQ, Opcode.GATK, Opcode.GATKQ,
}  # fmt: skip


async def test_what_would_have_no_effect_is_refused() -> None:
    for command in TABLE.commands:
        for opcode in command.opcodes:
            infos = TABLE.infos[opcode]
            assert (FrameInfoId.DURABILITY in infos) == (opcode in CHANGES), command
            assert (FrameInfoId.PRESERVE_TTL in infos) == (opcode in CHANGES - SETS_EXPIRY), command


@pytest.mark.parametrize("opcode", [Opcode.GET, Opcode.GETQ, Opcode.NOOP, Opcode.STAT, Opcode.HELLO, Opcode.SUBDOC_MULTI_LOOKUP])
async def test_a_command_that_changes_nothing_is_not_durable(raw, opcode: int) -> None:
    await put(raw)
    await raw.send(raw.plain_frame(opcode, framing=durability(1)))
    reply = await raw.receive()
    assert (reply.opcode, reply.status) == (opcode, Status.INVALID)
    await raw.send(raw.plain_frame(0xF3, framing=durability(1)))
    assert (await raw.receive()).status == Status.UNKNOWN_COMMAND


@pytest.mark.parametrize("opcode", [Opcode.TOUCH, Opcode.GAT, Opcode.ADD, Opcode.GET, Opcode.DELETE])
async def test_an_expiry_is_kept_where_it_can_be(raw, opcode: int) -> None:
    await put(raw, expiry=FAR)
    await raw.send(raw.plain_frame(opcode, framing=encode_frame_infos([KEEP])))
    assert (await raw.receive()).status == Status.NOT_SUPPORTED
    assert (await meta(raw))[2] == FAR


async def test_preserve_ttl(raw) -> None:
    await raw.hello(Feature.PRESERVE_TTL, Feature.ALT_REQUEST)
    keep = encode_frame_infos([FrameInfo(FrameInfoId.PRESERVE_TTL, b"")])
    assert (await put(raw, expiry=FAR, framing=keep)).status == 0
    assert (await meta(raw))[2] == FAR  # there was nothing to preserve
    for opcode in (Opcode.SET, Opcode.REPLACE):
        for expiry in (0, FAR + 5):
            extras = struct.pack(">LL", 0, expiry)
            assert (await raw.call(opcode, key=b"k", value=b"w", extras=extras, framing=keep)).status == 0
            assert (await meta(raw))[2] == FAR
    both = keep + durability(1)
    assert (await put(raw, framing=both)).status == 0
    assert (await meta(raw))[2] == FAR
    assert (await put(raw)).status == 0
    assert (await meta(raw))[2] == 0


async def test_tracing(raw) -> None:
    await put(raw)
    assert (await raw.call(Opcode.GET, key=b"k")).framing == b""
    await raw.hello(Feature.TRACING, Feature.XERROR)
    for opcode in (
        Opcode.GET,
        Opcode.SET,
        Opcode.NOOP,
        Opcode.GETK,
        Opcode.GET_RANDOM_KEY,
        Opcode.GET_KEYS,
        0x77,
        Opcode.SUBDOC_GET,
    ):
        await raw.send(raw.plain_frame(opcode, opaque=9))
        reply = await raw.receive()
        seconds = decode_server_duration(reply.framing)
        assert seconds is not None and 0 <= seconds < 20
        assert (reply.opcode, reply.opaque, len(reply.framing)) == (opcode, 9, 3)
    await raw.send(*[encode_request(Opcode.GET, key=b"k", opaque=number) for number in range(50)])
    for number in range(50):
        reply = await raw.receive()
        assert (reply.opaque, len(reply.framing)) == (number, 3)
    # A longer key than the header has room for beside them.
    key = b"k" * 250
    await put(raw, key=key)
    reply = await raw.call(Opcode.GETK, key=key)
    assert (reply.key, len(reply.framing)) == (key, 3)


@pytest.mark.parametrize("features", [(), (Feature.XERROR, Feature.JSON)], ids=["classic", "couchbase"])
async def test_who_does_not_ask_is_not_told_how_long_it_took(raw, features) -> None:
    if features:
        await raw.hello(*features)
    await put(raw)
    for opcode in (Opcode.GET, Opcode.GET_KEYS, Opcode.GET_RANDOM_KEY, Opcode.RANGE_SCAN_CREATE, Opcode.NOOP, 0x77):
        await raw.send(raw.plain_frame(opcode))
        assert (await raw.receive()).framing == b""


async def test_the_time_that_it_took(raw) -> None:
    await raw.hello(Feature.TRACING, Feature.XERROR)
    began = time.perf_counter()
    await raw.send(*[encode_request(Opcode.SET, key=b"k%d" % number, extras=EXTRAS) for number in range(300)])
    replies = [await raw.receive() for _ in range(300)]
    most = 1.01 * (time.perf_counter() - began) + 1e-5  # it is rounded
    # The later ones waited for the earlier ones, which takes more than a microsecond, the least that there is.
    assert 0 < decode_server_duration(replies[-1].framing) < most
    began = time.perf_counter()
    reply = await raw.call(Opcode.GET_KEYS)
    assert 0 < decode_server_duration(reply.framing) < 1.01 * (time.perf_counter() - began) + 1e-5


# Datatypes


DOCUMENT = {
    "GET": encode_request(Opcode.GET, key=b"k"),
    "GETs": encode_request(Opcode.GET, key=b"k") * 10,
    "GETQ": encode_request(Opcode.GETQ, key=b"k"),
    "GETK": encode_request(Opcode.GETK, key=b"k"),
    "GET behind a change": encode_request(Opcode.DELETEQ, key=b"other") + encode_request(Opcode.GET, key=b"k"),
    "GAT": encode_request(Opcode.GAT, key=b"k", extras=bytes(4)),
    "GET_LOCKED": encode_request(Opcode.GET_LOCKED, key=b"k"),
    "GET_RANDOM_KEY": encode_request(Opcode.GET_RANDOM_KEY),
    "SUBDOC_GET": encode_request(Opcode.SUBDOC_GET, key=b"k", extras=struct.pack(">HB", 1, 0), value=b"n"),
}


@pytest.mark.parametrize("command", DOCUMENT)
@pytest.mark.parametrize(("features", "datatype"), [((), 0), ((Feature.XERROR,), 0), ((Feature.JSON,), 1)])
async def test_a_datatype_is_shown_to_those_who_have_negotiated_it(service, raw, command: str, features, datatype: int) -> None:
    async with service.connect() as other:
        await other.hello(Feature.JSON)
        assert (await put(other, b'{"n":1}')).status == 0
        assert (await other.call(Opcode.DELETE, key=b"other")).status == Status.NOT_FOUND
    if features:
        await raw.hello(*features)
    await raw.send(DOCUMENT[command], encode_request(Opcode.NOOP))
    replies = []
    while (reply := await raw.receive()).opcode != Opcode.NOOP:
        if reply.opcode != Opcode.DELETEQ:
            replies.append(reply)
    assert replies and {(reply.status, reply.datatype) for reply in replies} == {(0, datatype)}


async def test_snappy(raw) -> None:
    await raw.hello(Feature.SNAPPY, Feature.JSON)
    snappy = int(DataType.SNAPPY)
    for value, datatype in ((b"x" * 10_000, 0), (json.dumps(list(range(1000))).encode(), 1), (b"", 0)):
        for said in (snappy, snappy | 1):
            assert (await put(raw, bytes(cramjam.snappy.compress_raw(value)), datatype=said)).status == 0
            reply = await raw.call(Opcode.GET, key=b"k")
            assert (reply.value, reply.datatype) == (value, datatype)
    await put(raw, b"{}")
    path = struct.pack(">HB", 1, 0)
    compressed = bytes(cramjam.snappy.compress_raw(b'a"%s"' % (b"y" * 1000)))
    reply = await raw.call(Opcode.SUBDOC_DICT_UPSERT, key=b"k", extras=path, value=compressed, datatype=snappy)
    assert reply.status == 0
    assert (await raw.call(Opcode.GET, key=b"k")).value == b'{"a":"%s"}' % (b"y" * 1000)


async def test_a_large_value_is_stored_inflated_and_called_what_it_is(run_service) -> None:
    """Whatever the client says of it."""
    async with run_service() as service, service.connect() as raw:
        await raw.hello(Feature.SNAPPY, Feature.JSON)
        value = b'"%s"' % (b"x" * 300_000)
        compressed = bytes(cramjam.snappy.compress_raw(value))
        for said in (DataType.SNAPPY, DataType.SNAPPY | DataType.JSON):
            assert (await put(raw, compressed, datatype=said)).status == 0
            reply = await raw.call(Opcode.GET, key=b"k")
            assert (reply.value, reply.datatype) == (value, DataType.JSON)


@pytest.mark.parametrize("value", [b"", b"\xff", b"\xff\xff\xff\xff\xff\xff", b"\5abc", b"\x80\x80\4\xff\xff", b"\1" + b"x" * 50])
async def test_corrupt_snappy(raw, value: bytes) -> None:
    await raw.hello(Feature.SNAPPY, Feature.XERROR, Feature.JSON)
    reply = await put(raw, value, datatype=DataType.SNAPPY)
    assert reply.status == Status.INVALID
    assert "Snappy" in json.loads(reply.value)["error"]["context"]
    assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


async def test_snappy_over_the_limit(raw) -> None:
    await raw.hello(Feature.SNAPPY)
    for size, status in ((LIMIT, 0), (LIMIT + 1, Status.TOO_BIG), (1_000_000, Status.TOO_BIG)):
        assert (await put(raw, bytes(cramjam.snappy.compress_raw(bytes(size))), datatype=DataType.SNAPPY)).status == status
    # A length that is a lie costs nothing.
    assert (await put(raw, b"\xff\xff\xff\xff\x0f", datatype=DataType.SNAPPY)).status == Status.TOO_BIG
    assert len((await raw.call(Opcode.GET, key=b"k")).value) == LIMIT


@pytest.mark.parametrize(("features", "datatype"), [((Feature.XERROR,), 0), ((Feature.XERROR, Feature.JSON), 1)])
async def test_json_of_the_service_is_called_so_where_that_is_negotiated(raw, features, datatype: int) -> None:
    await raw.hello(*features)
    for opcode, kwargs in (
        (Opcode.GET_CLUSTER_CONFIG, {}),
        (Opcode.GET_ERROR_MAP, {"value": b"\0\1"}),
        (Opcode.GET_COLLECTIONS_MANIFEST, {}),
        (Opcode.GET, {"key": b"k", "vbucket": 9}),  # which is refused with the configuration
        (Opcode.STAT, {"key": b"none"}),  # with a reason
    ):
        reply = await raw.call(opcode, **kwargs)
        assert json.loads(reply.value)
        assert reply.datatype == datatype


async def test_datatypes_have_to_be_negotiated(raw) -> None:
    await raw.hello(Feature.XERROR)
    for datatype in (DataType.JSON, DataType.SNAPPY, DataType.XATTR, 8):
        assert (await put(raw, b"{}", datatype=datatype)).status == Status.INVALID
    await raw.hello(Feature.JSON, Feature.SNAPPY, Feature.XATTR)
    assert (await put(raw, b"{}", datatype=DataType.XATTR)).status == Status.INVALID
    assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


@pytest.mark.parametrize(
    ("value", "datatype"),
    [(b"{}", 1), (b"17", 1), (b' [1, "x"] ', 1), (b'"text"', 1), (b"", 0), (b"text", 0), (b"{", 0), (b"\xff", 0), (b"NaN", 0)],
)
async def test_json_is_detected(service, raw, value: bytes, datatype: int) -> None:
    await raw.hello(Feature.JSON)
    for said in (0, 1):
        for opcode in (Opcode.SET, Opcode.REPLACE):
            assert (await raw.call(opcode, key=b"k", value=value, extras=EXTRAS, datatype=said)).status == 0
            assert (await raw.call(Opcode.GET, key=b"k")).datatype == (await meta(raw))[4] == datatype
    async with service.connect() as classic:
        assert (await classic.call(Opcode.GET, key=b"k")).datatype == 0
    # What is appended may have made it something else.
    assert (await raw.call(Opcode.APPEND, key=b"k", value=b"x")).status == 0
    assert (await raw.call(Opcode.GET, key=b"k")).datatype == 0


async def test_classic_sessions_store_bytes(service, raw) -> None:
    assert (await put(raw, b"{}")).status == 0
    async with service.connect() as other:
        await other.hello(Feature.JSON)
        assert (await other.call(Opcode.GET, key=b"k")).datatype == 0
