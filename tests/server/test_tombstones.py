"""Deleted documents that have extended attributes, by the frame: each status, and the frames of an SDK's transactions."""

from __future__ import annotations

import json
import struct
import time

import pytest

from support.service import wait_until
from support.subdocument import BOTH_ENGINES, call, found, lookups, mutations, put, run_with, single
from trio_spool.mcbp import DocumentFlag, Feature, Opcode, PathFlag, Status, encode_request

CREATE, XATTR, MACROS = PathFlag.CREATE, PathFlag.XATTR, PathFlag.EXPAND_MACROS
MAKE, ADD, ACCESS, AS_DELETED, REVIVE = (
    DocumentFlag.CREATE, DocumentFlag.ADD, DocumentFlag.ACCESS_DELETED, DocumentFlag.CREATE_AS_DELETED, DocumentFlag.REVIVE
)  # fmt: skip
UPSERT, REMOVE, GET, WHOLE = Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_GET, Opcode.GET
UNSTAGE = Opcode.SUBDOC_REPLACE_BODY_WITH_XATTR
STAGED = b'{"name":"staged"}'
DELETED, FAILED_DELETED = Status.SUBDOC_SUCCESS_DELETED, Status.SUBDOC_MULTI_PATH_FAILURE_DELETED


@pytest.fixture(params=BOTH_ENGINES)
async def service(request, tmp_path):
    async with run_with(request.param, tmp_path) as served:
        yield served


@pytest.fixture
async def sub(raw):
    await raw.hello(Feature.XATTR, Feature.JSON, Feature.XERROR, Feature.SUBDOC_CREATE_AS_DELETED)
    return raw


def mutate(flags: int, *paths: tuple, cas: int = 0, key: bytes = b"k") -> bytes:
    return mutations(*paths, extras=bytes([flags]), cas=cas, key=key)


def stage(flags: int = ADD | ACCESS | AS_DELETED, *, staged: bytes = STAGED, cas: int = 0, key: bytes = b"k") -> bytes:
    """What the SDKs send to stage an insert."""
    return mutate(
        flags,
        (UPSERT, b"txn", b'{"id":{"txn":"t"},"op":{"type":"insert"}}', CREATE, XATTR),
        (UPSERT, b"txn.op.stgd", staged, XATTR),
        (UPSERT, b"txn.op.crc32", b'"${Mutation.value_crc32c}"', XATTR, CREATE, MACROS),
        cas=cas,
        key=key,
    )


def unstage(cas: int, flags: int = ACCESS | REVIVE) -> bytes:
    """What the SDKs send to commit a staged insert."""
    return mutate(flags, (UNSTAGE, b"txn.op.stgd", b"", XATTR), (REMOVE, b"txn", b"", XATTR), cas=cas)


def look(*paths: tuple, flags: int = ACCESS, **kwargs) -> bytes:
    return lookups(*paths, extras=bytes([flags]), **kwargs)


async def bury(raw, key: bytes = b"k") -> int:
    """Make a tombstone, and return its CAS."""
    reply = await call(raw, stage(key=key))
    assert (reply.status, reply.value) == (DELETED, b"")
    assert reply.cas
    return reply.cas


async def meta(raw, version: bytes = b"\2"):
    reply = await raw.call(Opcode.GET_META, key=b"k", extras=version)
    return reply.status, struct.unpack(">LLLQB", reply.extras) if reply.extras else ()


# A transaction


async def test_an_insert_that_is_committed(sub) -> None:
    cas = await bury(sub)
    assert (await sub.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND
    reply = await call(sub, unstage(cas))
    assert (reply.status, reply.value) == (0, b"")
    assert reply.cas > cas
    document = await sub.call(Opcode.GET, key=b"k")
    assert (document.value, document.datatype, document.cas) == (STAGED, 1, reply.cas)
    reply = await call(sub, look((GET, b"txn", XATTR), (GET, b"$XTOC", XATTR)))
    assert (reply.status, found(reply)) == (
        Status.SUBDOC_MULTI_PATH_FAILURE, [(Status.SUBDOC_PATH_NOT_FOUND, b""), (0, b"[]")]
    )  # fmt: skip
    assert (await call(sub, unstage(0))).status == Status.SUBDOC_CAN_ONLY_REVIVE_DELETED


async def test_an_insert_that_is_committed_by_adding_it(sub) -> None:
    """As the SDKs do where nothing may be revived."""
    await bury(sub)
    assert (await sub.call(Opcode.ADD, key=b"k", value=STAGED, extras=bytes(8))).status == 0
    assert (await sub.call(Opcode.GET, key=b"k")).value == STAGED
    reply = await call(sub, look((GET, b"$XTOC", XATTR)))
    assert (reply.status, found(reply)) == (0, [(0, b"[]")])


async def test_an_insert_that_is_rolled_back(sub) -> None:
    cas = await bury(sub)
    reply = await call(sub, mutate(ACCESS, (REMOVE, b"txn", b"", XATTR), cas=cas))
    assert reply.status == DELETED
    again = await call(sub, stage())
    assert again.status == Status.EXISTS
    seen = await call(sub, look((GET, b"txn.id", XATTR), (GET, b"$document", XATTR), (WHOLE, b"")))
    assert (seen.status, seen.cas) == (FAILED_DELETED, reply.cas)
    (_, attribute), (_, virtual), (status, _) = found(seen)
    assert (attribute, status) == (b"", Status.SUBDOC_PATH_NOT_FOUND)
    assert json.loads(virtual)["deleted"] is True
    assert (await call(sub, stage(ACCESS | AS_DELETED, cas=seen.cas))).status == DELETED


async def test_a_staged_insert_that_another_one_takes_over(sub) -> None:
    first = await bury(sub)
    reply = await call(sub, stage())
    assert reply.status == Status.EXISTS
    names = (b"txn.id", b"txn.op.type", b"txn.op.stgd", b"txn.op.crc32", b"$document", b"txn.restore")
    seen = await call(sub, look(*((GET, name, XATTR) for name in names), (WHOLE, b"")))
    assert (seen.status, seen.cas) == (FAILED_DELETED, first)
    assert [value for _, value in found(seen)][:4] == [b'{"txn":"t"}', b'"insert"', STAGED, b'"0x00000000"']
    assert [status for status, _ in found(seen)] == [0, 0, 0, 0, 0, Status.SUBDOC_PATH_NOT_FOUND, Status.SUBDOC_PATH_NOT_FOUND]
    second = await call(sub, stage(ACCESS | AS_DELETED, staged=b"5", cas=first))
    assert second.status == DELETED
    assert (await call(sub, unstage(first))).status == Status.EXISTS
    assert (await call(sub, unstage(second.cas))).status == 0
    assert (await sub.call(Opcode.GET, key=b"k")).value == b"5"


# Statuses


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (stage(), Status.EXISTS),
        (stage(ADD | AS_DELETED), Status.NOT_STORED),
        (stage(MAKE | AS_DELETED), Status.TEMPORARY_FAILURE),
        (stage(MAKE | AS_DELETED | ACCESS), DELETED),
        (mutate(ACCESS, (UPSERT, b"x", b"1", XATTR)), DELETED),
        (mutate(ACCESS, (UPSERT, b"x", b"1", XATTR), cas=1), Status.EXISTS),
        (mutate(0, (UPSERT, b"x", b"1", XATTR)), Status.NOT_FOUND),
        (mutate(0, (UPSERT, b"x", b"1", XATTR), cas=1), Status.NOT_FOUND),
        (mutate(MAKE, (UPSERT, b"x", b"1", XATTR)), 0),
        (mutate(ADD, (UPSERT, b"x", b"1", XATTR)), 0),
        (mutate(ACCESS, (UNSTAGE, b"txn.op.stgd", b"", XATTR)), Status.SUBDOC_DELETED_CANT_HAVE_VALUE),
        (mutate(ACCESS, (UPSERT, b"x", b"1")), Status.SUBDOC_MULTI_PATH_FAILURE),
        (mutate(ACCESS | REVIVE, (UNSTAGE, b"none", b"", XATTR)), Status.SUBDOC_MULTI_PATH_FAILURE),
        (mutate(ACCESS | REVIVE, (UNSTAGE, b"txn.op.stgd", b"", XATTR), (UPSERT, b"x", b"1")), 0),
        (mutate(ACCESS | REVIVE, (REMOVE, b"txn", b"", XATTR)), 0),
        (mutate(ACCESS | REVIVE | ADD, (UPSERT, b"x", b"1", XATTR)), Status.EXISTS),
        (mutate(ACCESS, (Opcode.DELETE, b"", b"")), Status.NOT_FOUND),
        (single(UPSERT, b"x", b"1", XATTR, bytes([ACCESS])), DELETED),
        (single(UNSTAGE, b"txn.op.stgd", b"", XATTR, bytes([ACCESS | REVIVE])), 0),
        (single(GET, b"txn.op.type", b"", XATTR, bytes([ACCESS])), DELETED),
        (single(GET, b"txn.op.type", b"", XATTR), Status.NOT_FOUND),
        (single(GET, b"none", b"", XATTR, bytes([ACCESS])), Status.SUBDOC_PATH_NOT_FOUND),
        (single(GET, b"x", b"", 0, bytes([ACCESS])), Status.SUBDOC_DOC_NOT_JSON),
        (look((GET, b"txn", XATTR)), DELETED),
        (look((GET, b"txn", XATTR), cas=1), Status.EXISTS),
        (look((GET, b"txn", XATTR), (WHOLE, b"")), FAILED_DELETED),
        (lookups((GET, b"txn", XATTR)), Status.NOT_FOUND),
        (encode_request(Opcode.DELETE, key=b"k"), Status.NOT_FOUND),
        (encode_request(Opcode.TOUCH, key=b"k", extras=bytes(4)), Status.NOT_FOUND),
        (encode_request(Opcode.REPLACE, key=b"k", value=b"v", extras=bytes(8)), Status.NOT_FOUND),
        (encode_request(Opcode.SET, key=b"k", value=b"v", extras=bytes(8), cas=5), Status.NOT_FOUND),
        (encode_request(Opcode.APPEND, key=b"k", value=b"v"), Status.NOT_STORED),
    ],
)  # fmt: skip
async def test_on_a_tombstone(sub, frame: bytes, status: int) -> None:
    cas = await bury(sub)
    assert (await call(sub, frame)).status == status
    changed = status in (0, DELETED) and frame[1] not in (GET, Opcode.SUBDOC_MULTI_LOOKUP)
    now = await call(sub, look((GET, b"$document.deleted", XATTR)))
    assert (now.status, found(now)) == ((0, [(0, b"false")]) if status == 0 else (DELETED, [(0, b"true")]))
    assert (now.cas != cas) == changed


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (stage(), DELETED),
        (stage(ADD | AS_DELETED), DELETED),
        (stage(MAKE | AS_DELETED), DELETED),
        (stage(ACCESS | AS_DELETED), Status.NOT_FOUND),
        (stage(ACCESS | AS_DELETED, cas=1), Status.NOT_FOUND),
        (mutate(ADD | AS_DELETED, (UPSERT, b"x", b"1")), Status.SUBDOC_MULTI_PATH_FAILURE),
        (mutate(ACCESS | REVIVE, (UPSERT, b"x", b"1", XATTR)), Status.NOT_FOUND),
        (mutate(ACCESS | REVIVE | MAKE, (UPSERT, b"x", b"1", XATTR)), 0),
        (look((GET, b"x", XATTR)), Status.NOT_FOUND),
    ],
)
async def test_where_nothing_is(sub, frame: bytes, status: int) -> None:
    assert (await call(sub, frame)).status == status


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (stage(), Status.EXISTS),
        (stage(ADD | AS_DELETED), Status.EXISTS),
        (stage(MAKE | AS_DELETED), 0),
        (mutate(ACCESS | REVIVE, (UPSERT, b"x", b"1", XATTR)), Status.SUBDOC_CAN_ONLY_REVIVE_DELETED),
        (mutate(ACCESS | REVIVE, (UPSERT, b"x", b"1", XATTR), cas=1), Status.EXISTS),
        (mutate(ACCESS, (UPSERT, b"x", b"1", XATTR)), 0),
        (mutate(ACCESS, (UPSERT, b"x", b"[1]", XATTR), (UNSTAGE, b"x", b"", XATTR)), 0),
        (look((GET, b"$document", XATTR)), 0),
        (lookups((GET, b"$document", XATTR), cas=1), Status.EXISTS),
    ],
)
async def test_on_a_document(sub, frame: bytes, status: int) -> None:
    await put(sub, b"{}")
    assert (await call(sub, frame)).status == status
    assert (await sub.call(Opcode.GET, key=b"k")).status == 0


@pytest.mark.parametrize(
    "frame",
    [
        mutate(ADD, (UPSERT, b"x", b"1", XATTR), cas=1),
        mutate(REVIVE, (UPSERT, b"x", b"1", XATTR)),
        mutate(REVIVE | ACCESS | AS_DELETED, (UPSERT, b"x", b"1", XATTR)),
        mutate(MAKE | ADD, (UPSERT, b"x", b"1", XATTR)),
        mutate(ACCESS, (Opcode.SET, b"", b"1")),
        mutate(MAKE, (REMOVE, b"x", b"", XATTR)),
        mutate(ADD | AS_DELETED, (Opcode.SUBDOC_REPLACE, b"x", b"1", XATTR)),
        mutate(ADD, (UNSTAGE, b"x", b"", XATTR)),
        mutate(ACCESS, (UNSTAGE, b"x", b"")),
        mutate(ACCESS, (UNSTAGE, b"x", b"1", XATTR)),
        single(UPSERT, b"x", b"1", XATTR, bytes([AS_DELETED])),
        single(UPSERT, b"x", b"1", 0, bytes([ADD | AS_DELETED])),
        look((GET, b"x"), flags=ACCESS | REVIVE),
        look((GET, b"x"), flags=ADD),
    ],
)
async def test_flags_that_make_no_sense(sub, frame: bytes) -> None:
    assert (await call(sub, frame)).status == Status.INVALID


async def test_a_virtual_attribute_is_no_document(sub) -> None:
    await bury(sub)
    reply = await call(sub, mutate(ACCESS | REVIVE, (UNSTAGE, b"$document", b"", XATTR)))
    assert (reply.status, reply.value[1:]) == (Status.SUBDOC_MULTI_PATH_FAILURE, b"\0\xd2")


# What is said of it


async def test_the_virtual_attributes(sub) -> None:
    cas = await bury(sub)
    reply = await call(sub, look((GET, b"$document", XATTR), (GET, b"$XTOC", XATTR), (GET, b"$vbucket.HLC.now", XATTR)))
    (_, virtual), (_, names), (_, now) = found(reply)
    described = json.loads(virtual)
    assert described["deleted"] is True
    assert described["CAS"] == f"0x{cas:016x}"
    assert (described["value_bytes"], described["value_crc32c"], described["datatype"]) == (0, "0x00000000", ["xattr"])
    assert described["exptime"] == int(described["last_modified"]) == cas // 10**9
    assert json.loads(names) == ["txn"]
    assert abs(int(json.loads(now)) - time.time()) < 60


async def test_macros(sub) -> None:
    cas = await bury(sub)
    texts = (b"${Mutation.CAS}", b"${Mutation.seqno}", b"${$document.CAS}", b"${$document.deleted}")
    paths = [(UPSERT, b"m.a%d" % number, b'"%s"' % text, XATTR, MACROS, CREATE) for number, text in enumerate(texts)]
    reply = await call(sub, mutate(ACCESS, *paths))
    assert reply.status == DELETED
    (_, made), *_ = found(await call(sub, look((GET, b"m", XATTR))))
    made = json.loads(made)
    assert made["a0"] == "0x" + reply.cas.to_bytes(8, "little").hex()
    assert (made["a2"], made["a3"]) == (f"0x{cas:016x}", True)


async def test_the_metadata(sub) -> None:
    assert await meta(sub) == (Status.NOT_FOUND, ())
    cas = await bury(sub)
    status, (deleted, flags, expiry, seqno, datatype) = await meta(sub)
    assert (status, deleted, flags, expiry, datatype) == (0, 1, 0, cas // 10**9, 4)
    assert seqno
    await sub.send(stage(key=b"other"), encode_request(Opcode.GET_META, key=b"other"))  # one waits for the other
    assert (await sub.receive()).status == DELETED
    assert (await sub.receive()).extras[:4] == b"\0\0\0\1"


# What else there is of a collection


async def test_counts_leave_it_out(service, sub) -> None:
    await put(sub, b"1", b"alive")
    await bury(sub)
    engine = service.inside.buckets.default.engine
    assert (await sub.stat(b"collections"))[b"0x0:0x0:items"] == b"1"
    assert (await sub.stat(b""))[b"curr_items"] == b"1"
    assert (await sub.stat(b"engine"))[b"tombstones"] == b"1"
    assert [key for key, _ in engine.entries()] == [b"\0alive"]
    assert (await sub.call(Opcode.GET_KEYS)).value == b"\0\5alive"
    assert (await sub.call(Opcode.GET_RANDOM_KEY)).key in (b"alive", b"\0alive")
    assert (await sub.call(Opcode.DELETE, key=b"alive")).status == 0
    assert (await sub.call(Opcode.GET_RANDOM_KEY)).status == Status.NOT_FOUND


async def test_a_flush_removes_it(raw, service) -> None:
    await raw.send(stage())
    assert (await raw.receive()).status in (DELETED, Status.NOT_SUPPORTED)
    async with service.connect() as other:
        await other.hello(Feature.XATTR)
        await bury(other, b"a")
        assert (await raw.call(Opcode.FLUSH)).status == 0
        assert (await call(other, look((GET, b"txn", XATTR), key=b"a"))).status == Status.NOT_FOUND


async def test_dropping_a_collection_removes_it(service, sub) -> None:
    def manifest(uid: int, *collections: dict) -> bytes:
        scope = {"name": "_default", "uid": "0", "collections": [{"name": "_default", "uid": "0"}, *collections]}
        return json.dumps({"uid": str(uid), "scopes": [scope]}).encode()

    await sub.hello(Feature.XATTR, Feature.JSON, Feature.XERROR, Feature.COLLECTIONS)
    change = {"name": "c", "uid": "8"}
    assert (await sub.call(Opcode.SET_COLLECTIONS_MANIFEST, value=manifest(1, change))).status == 0
    await bury(sub, b"\x08k")
    await bury(sub, b"\0k")
    assert (await sub.call(Opcode.SET_COLLECTIONS_MANIFEST, value=manifest(2))).status == 0
    engine = service.inside.buckets.default.engine
    await wait_until(lambda: list(engine.tombstones) == [b"\0"])
    assert (await call(sub, look((GET, b"txn", XATTR), key=b"\0k"))).status == DELETED
    assert (await sub.call(Opcode.SET_COLLECTIONS_MANIFEST, value=manifest(3, change))).status == 0
    assert (await call(sub, look((GET, b"txn", XATTR), key=b"\x08k"))).status == Status.NOT_FOUND


# Large ones


async def test_a_large_document(sub) -> None:
    """Above 16 KiB, it is edited in a worker thread."""
    staged = b'{"text":"%s"}' % (b"x" * 100_000)
    reply = await call(sub, stage(staged=staged))
    assert reply.status == DELETED
    assert (await call(sub, stage(staged=staged))).status == Status.EXISTS
    seen = await call(sub, look((GET, b"txn.op.stgd", XATTR)))
    assert (seen.status, found(seen)) == (DELETED, [(0, staged)])
    assert (await call(sub, unstage(1))).status == Status.EXISTS
    assert (await call(sub, mutate(ACCESS, (UNSTAGE, b"txn.op.stgd", b"", XATTR)))).status == Status.SUBDOC_DELETED_CANT_HAVE_VALUE
    assert (await call(sub, unstage(reply.cas))).status == 0
    assert (await sub.call(Opcode.GET, key=b"k")).value == staged
    assert (await call(sub, unstage(0))).status == Status.SUBDOC_CAN_ONLY_REVIVE_DELETED


async def test_a_small_edit_of_a_large_tombstone(sub) -> None:
    await call(sub, stage(staged=b'"%s"' % (b"x" * 100_000)))
    assert (await call(sub, mutate(ACCESS, (UPSERT, b"note", b"1", XATTR)))).status == DELETED
    assert (await call(sub, mutate(ACCESS, (REMOVE, b"txn", b"", XATTR)))).status == DELETED
    assert found(await call(sub, look((GET, b"note", XATTR)))) == [(0, b"1")]


async def test_one_that_is_too_large(sub) -> None:
    assert (await call(sub, stage(staged=b'"%s"' % (b"x" * 2_000_000)))).status == Status.TOO_BIG
