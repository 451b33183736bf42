"""Sub-document commands, by the frame."""

from __future__ import annotations

import json
import struct

import attrs
import google_crc32c
import pytest

from support.subdocument import BOTH_ENGINES, call, found, lookups, mutations, put, run_with, single
from trio_spool.engine import ENGINES, EngineKind
from trio_spool.mcbp import Feature, FrameInfo, Opcode, PathFlag, Status, encode_frame_infos, encode_request

EXTRAS = bytes(8)
CREATE, XATTR, MACROS = PathFlag.CREATE, PathFlag.XATTR, PathFlag.EXPAND_MACROS
MAKE, ADD = b"\1", b"\2"
DOCUMENT = b'{"a":[1,2,{"b":null}],"s":"x","n":5,"e":{}}'
LOOKUP, MUTATION = Opcode.SUBDOC_MULTI_LOOKUP, Opcode.SUBDOC_MULTI_MUTATION
GET, EXISTS, COUNT = Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT
UPSERT, COUNTER = Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_COUNTER


@pytest.fixture(params=BOTH_ENGINES)
async def service(request, tmp_path):
    async with run_with(request.param, tmp_path) as served:
        yield served


@pytest.fixture
async def sub(raw):
    await raw.hello(Feature.XATTR, Feature.JSON, Feature.XERROR)
    await put(raw, DOCUMENT)
    return raw


async def document(raw, key: bytes = b"k") -> bytes:
    return (await raw.call(Opcode.GET, key=key)).value


async def attribute(raw, path: bytes, key: bytes = b"k") -> object:
    reply = await call(raw, lookups((GET, path, XATTR), key=key))
    ((status, value),) = found(reply)
    assert status == 0
    return json.loads(value)


# One path


@pytest.mark.parametrize(
    ("opcode", "path", "status", "value"),
    [
        (GET, b"a[2].b", 0, b"null"),
        (GET, b"", 0, DOCUMENT),
        (GET, b"s", 0, b'"x"'),
        (EXISTS, b"a[-1]", 0, b""),
        (COUNT, b"a", 0, b"3"),
        (COUNT, b"e", 0, b"0"),
        (GET, b"none", Status.SUBDOC_PATH_NOT_FOUND, b""),
        (EXISTS, b"a[3]", Status.SUBDOC_PATH_NOT_FOUND, b""),
        (GET, b"s.x", Status.SUBDOC_PATH_MISMATCH, b""),
        (COUNT, b"s", Status.SUBDOC_PATH_MISMATCH, b""),
        (GET, b"a[", Status.SUBDOC_PATH_INVALID, b""),
        (GET, b"a" * 1025, Status.SUBDOC_PATH_TOO_BIG, b""),
    ],
)
async def test_one_lookup(sub, opcode: int, path: bytes, status: int, value: bytes) -> None:
    reply = await call(sub, single(opcode, path))
    assert (reply.status, reply.value, reply.key, reply.extras) == (status, value, b"", b"")
    assert reply.datatype == (1 if value else 0)
    assert bool(reply.cas) == (status == 0)


async def test_a_lookup_of_what_is_not_there(sub) -> None:
    for frame in (single(GET, b"a", key=b"none"), lookups((GET, b"a"), (GET, b"b"), key=b"none")):
        assert (await call(sub, frame)).status == Status.NOT_FOUND


@pytest.mark.parametrize("value", [b"", b"text", b"{", b"\xff"])
async def test_what_is_not_json(sub, value: bytes) -> None:
    await put(sub, value)
    assert (await call(sub, single(GET, b"a"))).status == Status.SUBDOC_DOC_NOT_JSON
    assert (await call(sub, single(UPSERT, b"a", b"1"))).status == Status.SUBDOC_DOC_NOT_JSON
    assert found(await call(sub, lookups((GET, b"a"), (Opcode.GET, b"")))) == [(Status.SUBDOC_DOC_NOT_JSON, b""), (0, value)]


@pytest.mark.parametrize(
    ("opcode", "path", "value", "after"),
    [
        (Opcode.SUBDOC_DICT_ADD, b"e.x", b"1", b'{"e":{"x":1},"l":[1],"n":5}'),
        (UPSERT, b"n", b"null", b'{"e":{},"l":[1],"n":null}'),
        (Opcode.SUBDOC_DELETE, b"l", b"", b'{"e":{},"n":5}'),
        (Opcode.SUBDOC_REPLACE, b"l[0]", b"{}", b'{"e":{},"l":[{}],"n":5}'),
        (Opcode.SUBDOC_ARRAY_PUSH_LAST, b"l", b"2,3", b'{"e":{},"l":[1,2,3],"n":5}'),
        (Opcode.SUBDOC_ARRAY_PUSH_FIRST, b"l", b"0", b'{"e":{},"l":[0,1],"n":5}'),
        (Opcode.SUBDOC_ARRAY_INSERT, b"l[0]", b"0", b'{"e":{},"l":[0,1],"n":5}'),
        (Opcode.SUBDOC_ARRAY_ADD_UNIQUE, b"l", b"2", b'{"e":{},"l":[1,2],"n":5}'),
        (COUNTER, b"n", b"-7", b'{"e":{},"l":[1],"n":-2}'),
    ],
)
async def test_one_mutation(sub, opcode: int, path: bytes, value: bytes, after: bytes) -> None:
    cas = await put(sub, b'{"e":{},"l":[1],"n":5}')
    reply = await call(sub, single(opcode, path, value))
    assert (reply.status, reply.value) == (0, b"-2" if opcode == COUNTER else b"")
    assert await document(sub) == after
    assert reply.cas == (await sub.call(Opcode.GET, key=b"k")).cas != cas
    assert (await call(sub, single(opcode, path, value, cas=cas))).status == Status.EXISTS
    assert (await call(sub, single(opcode, path, value, key=b"none"))).status == Status.NOT_FOUND
    assert (await call(sub, single(opcode, path, value, key=b"none", cas=cas))).status == Status.NOT_FOUND


@pytest.mark.parametrize(
    ("opcode", "path", "value", "status"),
    [
        (Opcode.SUBDOC_DICT_ADD, b"s", b"1", Status.SUBDOC_PATH_EXISTS),
        (UPSERT, b"x.y", b"1", Status.SUBDOC_PATH_NOT_FOUND),
        (UPSERT, b"", b"1", Status.SUBDOC_PATH_INVALID),
        (UPSERT, b"x", b"nonsense", Status.SUBDOC_VALUE_CANT_INSERT),
        (Opcode.SUBDOC_DELETE, b"x", b"", Status.SUBDOC_PATH_NOT_FOUND),
        (Opcode.SUBDOC_REPLACE, b"x", b"1", Status.SUBDOC_PATH_NOT_FOUND),
        (Opcode.SUBDOC_ARRAY_PUSH_LAST, b"e", b"1", Status.SUBDOC_PATH_MISMATCH),
        (Opcode.SUBDOC_ARRAY_ADD_UNIQUE, b"a", b"1", Status.SUBDOC_PATH_MISMATCH),
        (COUNTER, b"s", b"1", Status.SUBDOC_PATH_MISMATCH),
        (COUNTER, b"n", b"0", Status.SUBDOC_DELTA_INVALID),
        (COUNTER, b"n", b"%d" % ((1 << 63) - 1), Status.SUBDOC_NUM_RANGE),
        (UPSERT, b".".join([b"p"] * 33), b"1", Status.SUBDOC_PATH_TOO_BIG),
    ],
)
async def test_a_mutation_that_fails_changes_nothing(sub, opcode: int, path: bytes, value: bytes, status: int) -> None:
    cas = (await sub.call(Opcode.GET, key=b"k")).cas
    reply = await call(sub, single(opcode, path, value))
    assert (reply.status, reply.value, reply.cas) == (status, b"", 0)
    reply = await call(sub, mutations((UPSERT, b"other", b"1"), (opcode, path, value), (UPSERT, b"third", b"1")))
    assert (reply.status, reply.value) == (Status.SUBDOC_MULTI_PATH_FAILURE, struct.pack(">BH", 1, status))
    reply = await sub.call(Opcode.GET, key=b"k")
    assert (reply.value, reply.cas) == (DOCUMENT, cas)


# Several paths


async def test_several_lookups(sub) -> None:
    reply = await call(sub, lookups((GET, b"a[0]"), (EXISTS, b"s"), (COUNT, b"a"), (Opcode.GET, b"")))
    assert (reply.status, found(reply)) == (0, [(0, b"1"), (0, b""), (0, b"3"), (0, DOCUMENT)])
    assert reply.cas == (await sub.call(Opcode.GET, key=b"k")).cas
    reply = await call(sub, lookups((GET, b"none"), (GET, b"n"), (EXISTS, b"n.x")))
    assert reply.status == Status.SUBDOC_MULTI_PATH_FAILURE
    assert found(reply) == [(Status.SUBDOC_PATH_NOT_FOUND, b""), (0, b"5"), (Status.SUBDOC_PATH_MISMATCH, b"")]


async def test_several_mutations(sub) -> None:
    reply = await call(sub, mutations((UPSERT, b"new", b"1"), (COUNTER, b"n", b"1"), (COUNTER, b"c.d", b"-3", CREATE)))
    assert (reply.status, reply.value) == (0, bytes.fromhex("01 0000 00000001") + b"6" + bytes.fromhex("02 0000 00000002") + b"-3")
    assert json.loads(await document(sub)) == json.loads(DOCUMENT) | {"n": 6, "new": 1, "c": {"d": -3}}


async def test_the_whole_document(sub) -> None:
    assert (await call(sub, mutations((Opcode.SET, b"", b"[1]")))).status == 0
    assert await document(sub) == b"[1]"
    assert (await call(sub, mutations((Opcode.DELETE, b"", b"")))).status == 0
    assert (await sub.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
    assert (await call(sub, mutations((Opcode.SET, b"", b"text"), extras=MAKE))).status == 0
    reply = await sub.call(Opcode.GET, key=b"k")
    assert (reply.value, reply.datatype) == (b"text", 0)


@pytest.mark.parametrize(
    "value", [b"", b"\0", struct.pack(">BBH", GET, 0, 5) + b"abc", struct.pack(">BBH", Opcode.SET, 0, 1) + b"a"]
)
async def test_malformed_requests_leave_the_connection(sub, value: bytes) -> None:
    for opcode in (LOOKUP, MUTATION):
        reply = await sub.call(opcode, key=b"k", value=value)
        assert reply.status in (Status.INVALID, Status.SUBDOC_INVALID_COMBO)
        assert json.loads(reply.value)["error"]["context"]
    assert await document(sub) == DOCUMENT


async def test_a_result_that_is_too_big(sub) -> None:
    new = b'"%s"' % (b"x" * 150_000)
    assert (await call(sub, single(UPSERT, b"n", new))).status == 0
    assert (await call(sub, single(UPSERT, b"m", new))).status == Status.TOO_BIG
    assert (await call(sub, mutations((UPSERT, b"m", new)))).status == Status.TOO_BIG
    assert len(await document(sub)) < 200_000


# Making documents


async def test_make_if_missing(sub) -> None:
    for more in (MAKE, bytes(4) + MAKE):
        for key in (b"k", b"new"):
            assert (await call(sub, single(UPSERT, b"x", b"1", key=key, more=more))).status == 0
    assert await document(sub, b"new") == b'{"x":1}'
    push = Opcode.SUBDOC_ARRAY_PUSH_LAST
    assert (await call(sub, single(push, b"", b"1", key=b"list", more=MAKE))).status == 0
    assert await document(sub, b"list") == b"[1]"
    reply = await call(sub, mutations((UPSERT, b"a.b", b"1"), key=b"none", extras=MAKE))
    assert reply.status == Status.SUBDOC_MULTI_PATH_FAILURE
    assert (await sub.call(Opcode.GET, key=b"none")).status == Status.NOT_FOUND


async def test_add(sub) -> None:
    assert (await call(sub, single(UPSERT, b"x", b"1", more=ADD))).status == Status.EXISTS
    assert (await call(sub, mutations((UPSERT, b"x", b"1"), extras=ADD))).status == Status.EXISTS
    assert (await call(sub, mutations((UPSERT, b"x", b"1"), key=b"new", extras=ADD))).status == 0
    reply = await sub.call(Opcode.GET, key=b"new")
    assert (reply.value, reply.datatype) == (b'{"x":1}', 1)


async def test_expiry(sub) -> None:
    async def expiry(key: bytes = b"k") -> int:
        extras = (await sub.call(Opcode.GET_META, key=key, extras=b"\2")).extras
        return struct.unpack(">LLLQB", extras)[2]

    keep = encode_frame_infos([FrameInfo(5, b"")])
    far, farther = 4_000_000_000, 4_100_000_000
    assert (await call(sub, single(UPSERT, b"x", b"1", more=far.to_bytes(4, "big")))).status == 0
    assert await expiry() == far
    assert (await call(sub, single(UPSERT, b"x", b"2"))).status == 0
    assert await expiry() == far
    assert (await call(sub, mutations((UPSERT, b"x", b"3"), extras=farther.to_bytes(4, "big"), framing=keep))).status == 0
    assert await expiry() == far
    assert (await call(sub, mutations((UPSERT, b"x", b"3"), extras=bytes(4)))).status == 0
    assert await expiry() == 0
    # There is nothing to preserve of what is made.
    for flags in (MAKE, ADD):
        made = mutations((UPSERT, b"x", b"3"), key=b"new" + flags, extras=far.to_bytes(4, "big") + flags, framing=keep)
        assert (await call(sub, made)).status == 0
        assert await expiry(b"new" + flags) == far
    await sub.send(
        encode_request(Opcode.SET, key=b"piped", value=b"{}", extras=struct.pack(">LL", 0, far)),
        single(UPSERT, b"x", b"1", key=b"piped", more=MAKE),
    )
    assert [(await sub.receive()).status for _ in range(2)] == [0, 0]
    assert await expiry(b"piped") == far


# Extended attributes


async def test_attributes(sub) -> None:
    reply = await call(sub, mutations((UPSERT, b"x.y", b"[1]", XATTR | CREATE), (UPSERT, b"n", b"6")))
    assert reply.status == 0
    assert await attribute(sub, b"x") == {"y": [1]}
    assert await attribute(sub, b"$XTOC") == ["x"]
    assert json.loads(await document(sub))["n"] == 6
    reply = await call(sub, lookups((GET, b"x.y[0]", XATTR), (EXISTS, b"z", XATTR), (GET, b"n")))
    assert found(reply) == [(0, b"1"), (Status.SUBDOC_PATH_NOT_FOUND, b""), (0, b"6")]
    # They stay with the item when its value is replaced, and go with it.
    await put(sub, b"text")
    assert await attribute(sub, b"x.y") == [1]
    assert (await sub.call(Opcode.DELETE, key=b"k")).status == 0
    await put(sub, DOCUMENT)
    assert await attribute(sub, b"$XTOC") == []


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (single(GET, b"", flags=XATTR), Status.SUBDOC_XATTR_INVALID_KEYS),
        (single(GET, b"x" * 17, flags=XATTR), Status.SUBDOC_XATTR_INVALID_KEYS),
        (single(GET, b"$none", flags=XATTR), Status.SUBDOC_XATTR_UNKNOWN_VATTR),
        (single(UPSERT, b"$document.x", b"1", XATTR), Status.SUBDOC_XATTR_CANT_MODIFY_VATTR),
        (single(UPSERT, b"x", b'"${Mutation.none}"', XATTR | MACROS), Status.SUBDOC_XATTR_UNKNOWN_MACRO),
        (single(UPSERT, b"x", b'"${Mutation.CAS}"', MACROS), Status.SUBDOC_XATTR_INVALID_FLAGS),
        (lookups((GET, b"a"), (GET, b"x", XATTR)), Status.SUBDOC_INVALID_COMBO),
        (lookups((GET, b"a", 0x40)), Status.INVALID),
        (lookups((GET, b"a"), extras=b"\x40"), Status.NOT_SUPPORTED),
    ],
)
async def test_attributes_refused(sub, frame: bytes, status: int) -> None:
    assert (await call(sub, frame)).status == status


async def test_macros(sub) -> None:
    steps = [
        (UPSERT, b"m.%s" % name, b'"${Mutation.%s}"' % name, XATTR | CREATE | MACROS)
        for name in (b"CAS", b"seqno", b"value_crc32c")
    ]
    reply = await call(sub, mutations(*steps, (UPSERT, b"n", b"1")))
    stored = await sub.call(Opcode.GET, key=b"k")
    expanded = await attribute(sub, b"m")
    assert int.from_bytes(bytes.fromhex(expanded["CAS"][2:]), "little") == reply.cas == stored.cas
    assert int(expanded["seqno"], 16) == int(await attribute(sub, b"$document.seqno"), 16)
    assert int(expanded["value_crc32c"], 16) == google_crc32c.value(stored.value)


async def test_virtual_attributes(sub) -> None:
    await sub.call(Opcode.SET, key=b"k", value=DOCUMENT, extras=struct.pack(">LL", 7, 4_000_000_000))
    stored = await sub.call(Opcode.GET, key=b"k")
    virtual = await attribute(sub, b"$document")
    assert (int(virtual["CAS"], 16), virtual["flags"], virtual["exptime"]) == (stored.cas, 7, 4_000_000_000)
    assert (virtual["value_bytes"], virtual["datatype"], virtual["deleted"]) == (len(DOCUMENT), ["json"], False)
    assert int(virtual["value_crc32c"], 16) == google_crc32c.value(DOCUMENT)
    assert int(virtual["last_modified"]) == stored.cas // 10**9
    assert found(await call(sub, lookups((GET, b"$document.flags", XATTR), (GET, b"$document.exptime", XATTR)))) == [
        (0, b"7"),
        (0, b"4000000000"),
    ]


async def test_the_time_of_a_vbucket_goes_on(run_service) -> None:
    """By it, transactions of Couchbase's SDKs find out that the client of another one has died."""
    now = 2_000_000_000.0
    memory = ENGINES["memory"]
    kind = EngineKind(
        "clocked", needs_directory=False,
        open=lambda options: memory.open(attrs.evolve(options, clock=lambda: now, steady_clock=lambda: now)),
    )  # fmt: skip
    async with run_service(engine=kind) as service, service.connect() as sub:
        await sub.hello(Feature.XERROR, Feature.JSON, Feature.XATTR)
        await put(sub, DOCUMENT)
        for _ in range(3):
            assert await attribute(sub, b"$vbucket") == {"HLC": {"now": str(int(now)), "mode": "real"}}
            now += 100


async def test_the_document_is_the_value_without_its_attributes(sub) -> None:
    attributes = [(UPSERT, b"x%d" % number, b'"%s"' % (b"y" * 500), XATTR) for number in range(3)]
    assert (await call(sub, mutations(*attributes, (UPSERT, b"n", b"6")))).status == 0
    value = await document(sub)
    virtual = await attribute(sub, b"$document")
    assert (virtual["value_bytes"], int(virtual["value_crc32c"], 16)) == (len(value), google_crc32c.value(value))
    assert virtual["datatype"] == ["json", "xattr"]
    await put(sub, b"")
    virtual = await attribute(sub, b"$document")
    assert (virtual["value_bytes"], int(virtual["value_crc32c"], 16), virtual["datatype"]) == (0, 0, ["xattr"])
    assert await attribute(sub, b"$XTOC") == ["x0", "x1", "x2"]


async def test_without_attributes_negotiated(raw) -> None:
    await raw.hello(Feature.XERROR, Feature.JSON)
    await put(raw, DOCUMENT)
    for frame in (
        single(GET, b"x", flags=XATTR),
        lookups((GET, b"$document", XATTR), (Opcode.GET, b"")),
        mutations((UPSERT, b"x", b"1", XATTR), (UPSERT, b"n", b"1")),
    ):
        reply = await call(raw, frame)
        assert reply.status == Status.NOT_SUPPORTED
        assert "HELLO" in json.loads(reply.value)["error"]["context"]
    assert found(await call(raw, lookups((GET, b"n"), (Opcode.GET, b"")))) == [(0, b"5"), (0, DOCUMENT)]


async def test_in_a_classic_session(raw) -> None:
    await put(raw, DOCUMENT)
    reply = await call(raw, single(GET, b"n"))
    assert (reply.status, reply.value, reply.datatype) == (0, b"5", 0)
    reply = await call(raw, single(GET, b"none"))
    assert (reply.status, reply.value, reply.cas) == (Status.SUBDOC_PATH_NOT_FOUND, b"Subdoc path not found", 0)
