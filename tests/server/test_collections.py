"""Scopes and collections, by the frame: the manifest, keys with the id of a collection, and what dropping one does."""

from __future__ import annotations

import json
import struct
import time

import pytest

from trio_spool._formats import Collection, Scope
from trio_spool.mcbp import (
    CONTINUE,
    Feature,
    Opcode,
    ScanRequest,
    Status,
    encode_leb128,
    encode_request,
    encode_scan_request,
    unpack_scan,
)
from trio_spool.server.data import Manifest

EXTRAS = bytes(8)
DEFAULT = Manifest().scopes
SHOP = Scope(8, "shop", (Collection(8, "orders"), Collection(300, "short", max_ttl=50)))
NAMED = Manifest(2, (*DEFAULT, SHOP))


def key_in(collection: int, key: bytes) -> bytes:
    return encode_leb128(collection) + key


@pytest.fixture(params=["memory", "lmdb"])
async def service(request, run_service, tmp_path):
    options = {"engine": request.param, "fsync": "no"}
    if request.param == "lmdb":
        options["data_dir"] = tmp_path / "data"
    async with run_service(**options) as served:
        yield served


@pytest.fixture
async def named(service, raw):
    """A connection with collections, in a bucket with some."""
    await raw.hello(Feature.COLLECTIONS, Feature.JSON, Feature.XERROR)
    assert await set_manifest(raw, NAMED) == 0
    return raw


async def set_manifest(raw, manifest: Manifest | bytes) -> int:
    value = manifest if isinstance(manifest, bytes) else manifest.to_json()
    return (await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=value)).status


async def put(raw, key: bytes, value: bytes = b"v", expiry: int = 0) -> int:
    return (await raw.call(Opcode.SET, key=key, value=value, extras=struct.pack(">LL", 0, expiry))).status


async def expiry_of(raw, key: bytes) -> int:
    reply = await raw.call(Opcode.GET_META, key=key, extras=b"\2")
    assert reply.status == 0
    return struct.unpack(">LLLQB", reply.extras)[2]


async def stat(raw, group: bytes) -> dict[bytes, bytes]:
    await raw.send(encode_request(Opcode.STAT, key=group))
    rows = {}
    while (reply := await raw.receive()).key:
        rows[reply.key] = reply.value
    return rows


# The manifest


async def test_the_first_manifest(raw) -> None:
    await raw.hello(Feature.JSON)
    reply = await raw.call(Opcode.GET_COLLECTIONS_MANIFEST)
    collection = {"name": "_default", "uid": "0"}
    assert (reply.status, reply.datatype) == (0, 1)
    assert json.loads(reply.value) == {"uid": "0", "scopes": [{**collection, "collections": [collection]}]}


async def test_set_and_get(named) -> None:
    content = json.loads((await named.call(Opcode.GET_COLLECTIONS_MANIFEST)).value)
    assert content["uid"] == "2"
    assert content["scopes"][1] == {
        "name": "shop",
        "uid": "8",
        "collections": [{"name": "orders", "uid": "8"}, {"name": "short", "uid": "12c", "maxTTL": 50}],
    }


async def test_the_uid_grows(named) -> None:
    assert await set_manifest(named, NAMED) == 0  # again, the same
    for manifest in (Manifest(2), Manifest(1, NAMED.scopes), Manifest(0)):
        assert await set_manifest(named, manifest) == Status.RANGE_ERROR
    assert await set_manifest(named, Manifest(3, NAMED.scopes)) == 0
    moved = Scope(9, "other", (Collection(8, "orders"),))
    renamed = Scope(8, "shop", (Collection(8, "invoices"),))
    for scope in (moved, renamed):
        assert await set_manifest(named, Manifest(4, (*DEFAULT, scope))) == Status.RANGE_ERROR
    assert json.loads((await named.call(Opcode.GET_COLLECTIONS_MANIFEST)).value)["uid"] == "3"


def scopes(*content: object) -> bytes:
    return json.dumps({"uid": "5", "scopes": list(content)}).encode()


def scope(name: object = "_default", uid: object = "0", collections: object = None) -> dict:
    collection = {"name": "_default", "uid": "0"}
    return {"name": name, "uid": uid, "collections": [collection] if collections is None else collections}


def collection(name: object = "c", uid: object = "8", **more: object) -> dict:
    return {"name": name, "uid": uid, **more}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 100_000, b'{"uid":"5"}', b'{"uid":"5","scopes":7}', b'{"uid":5,"scopes":[]}',
        scopes(), scopes(scope(uid="8")), scopes("x"), scopes(7), scopes([]), scopes(None),
        scopes(scope(collections=["x"])), scopes(scope(collections=[[]])), scopes(scope(collections=[None])),
        scopes(scope(collections={"a": 1})), scopes(scope(collections=[])), scopes(scope(collections=[collection()])),
        scopes(scope(), scope("s", "8", [collection(uid="0")])), scopes(scope(), scope("s", "0", [])),
        scopes(scope(), scope("s", "8", [collection(), collection("d")])),
        scopes(scope(), scope("s", "8", [collection(), collection(uid="9")])),
        scopes(scope(), scope("s", "8", []), scope("s", "9", [])), scopes(scope(), scope("s", "8", []), scope("t", "8", [])),
        *(scopes(scope(), scope(name, "8", [])) for name in ("", "_x", "%x", "a.b", "a b", "x" * 252, "é", 7, None, ["x"])),
        *(scopes(scope(), scope("s", "8", [collection(name)])) for name in ("", "_x", "a.b", 7, {})),
        *(scopes(scope(), scope("s", uid, [])) for uid in ("", "g", "-1", "123456789", 8, None)),
        *(scopes(scope(), scope("s", "8", [collection(maxTTL=ttl)])) for ttl in (-1, 1 << 31, "1", 1.5, True, None)),
        scopes(scope(), scope("s", "8", [collection(f"c{n}", f"{n:x}") for n in range(8, 1010)])),
    ],
)  # fmt: skip
async def test_what_is_not_a_manifest(raw, content: bytes) -> None:
    assert await set_manifest(raw, content) == Status.INVALID
    assert (await raw.call(Opcode.GET_COLLECTION_ID, value=b"_default._default")).extras == bytes(12)


# Names


async def test_ids(named) -> None:
    async def identity(opcode: int, name: bytes) -> tuple[int, ...]:
        reply = await named.call(opcode, value=name)
        assert reply.status == 0
        return struct.unpack(">QL", reply.extras)

    for name, number in {b"shop.orders": 8, b"shop.short": 300, b"_default._default": 0, b".": 0, b"_default.": 0}.items():
        assert await identity(Opcode.GET_COLLECTION_ID, name) == (2, number)
    for name, number in {b"shop": 8, b"_default": 0, b"": 0, b"shop.orders": 8, b"shop.none": 8}.items():
        assert await identity(Opcode.GET_SCOPE_ID, name) == (2, number)


@pytest.mark.parametrize(
    ("opcode", "name", "status"),
    [
        (Opcode.GET_COLLECTION_ID, b"shop.none", Status.UNKNOWN_COLLECTION),
        (Opcode.GET_COLLECTION_ID, b"shop.", Status.UNKNOWN_COLLECTION),
        (Opcode.GET_COLLECTION_ID, b"none.orders", Status.UNKNOWN_SCOPE),
        (Opcode.GET_COLLECTION_ID, b"\xff.orders", Status.UNKNOWN_SCOPE),
        (Opcode.GET_COLLECTION_ID, b"orders", Status.INVALID),
        (Opcode.GET_COLLECTION_ID, b"a.b.c", Status.INVALID),
        (Opcode.GET_COLLECTION_ID, b"", Status.INVALID),
        (Opcode.GET_SCOPE_ID, b"none", Status.UNKNOWN_SCOPE),
    ],
)
async def test_names_that_are_not_there(named, opcode: int, name: bytes, status: int) -> None:
    reply = await named.call(opcode, value=name)
    assert (reply.status, reply.extras) == (status, b"")
    assert json.loads(reply.value)["error"]["context"]


# Keys


async def test_the_same_key_in_several_collections(service, named) -> None:
    for number in (0, 8, 300):
        assert await put(named, key_in(number, b"k"), b"%d" % number) == 0
    for number in (0, 8, 300):
        assert (await named.call(Opcode.GET, key=key_in(number, b"k"))).value == b"%d" % number
        reply = await named.call(Opcode.GETK, key=key_in(number, b"k"))
        assert (reply.key, reply.value) == (key_in(number, b"k"), b"%d" % number)
    async with service.connect() as classic:
        reply = await classic.call(Opcode.GETK, key=b"k")
        assert (reply.key, reply.value) == (b"k", b"0")
        # A key that looks like that of a collection is just a key of the default one.
        assert (await classic.call(Opcode.GET, key=key_in(8, b"k"))).status == Status.NOT_FOUND
        assert await put(classic, key_in(8, b"k"), b"classic") == 0
        assert (await named.call(Opcode.GET, key=key_in(8, b"k"))).value == b"8"
        assert (await named.call(Opcode.GET, key=key_in(0, key_in(8, b"k")))).value == b"classic"
    assert (await named.call(Opcode.DELETE, key=key_in(8, b"k"))).status == 0
    assert (await named.call(Opcode.GET, key=key_in(300, b"k"))).status == 0


@pytest.mark.parametrize("opcode", [Opcode.GET, Opcode.SET, Opcode.INCREMENT, Opcode.GET_META, Opcode.SUBDOC_GET, Opcode.GET_KEYS])
async def test_unknown_collections(named, opcode: int) -> None:
    for number in (1, 9, 0x80, 0xFFFFFFFF):
        await named.send(named.plain_frame(opcode, key=key_in(number, b"k")))
        reply = await named.receive()
        assert reply.status == Status.UNKNOWN_COLLECTION
        assert f"0x{number:x}" in json.loads(reply.value)["error"]["context"]
    assert (await named.call(Opcode.NOOP)).status == 0


@pytest.mark.parametrize(
    "key", [b"\x80", b"\x88\x80", b"\xff\xff\xff\xff\xff\xff", b"\xff" * 5 + b"k", b"\x08", b"\x08" + b"k" * 251]
)
async def test_malformed_keys(named, key: bytes) -> None:
    for opcode in (Opcode.GET, Opcode.SET):
        await named.send(named.plain_frame(opcode, key=key))
        assert (await named.receive()).status == Status.INVALID
    assert (await named.call(Opcode.NOOP)).status == 0


async def test_an_id_that_is_longer_than_it_needs_to_be_is_the_same(named) -> None:
    assert await put(named, b"\x88\x80\0" + b"k") == 0
    assert (await named.call(Opcode.GET, key=b"\x08k")).value == b"v"
    assert await put(named, key_in(8, b"k" * 250)) == 0
    assert await put(named, key_in(300, b"k" * 250)) == 0


# Bounds on how long items live


async def test_the_longest_life_of_a_collection(named) -> None:
    k = key_in(300, b"k")

    def soon(expiry: int) -> bool:
        return time.time() + 40 < expiry <= time.time() + 52

    assert await put(named, k) == 0
    assert soon(await expiry_of(named, k))
    assert await put(named, k, expiry=1000) == 0
    assert soon(await expiry_of(named, k))
    assert await put(named, k, expiry=10) == 0
    assert await expiry_of(named, k) <= time.time() + 12
    assert (await named.call(Opcode.TOUCH, key=k, extras=bytes(4))).status == 0
    assert soon(await expiry_of(named, k))
    assert (await named.call(Opcode.INCREMENT, key=key_in(300, b"n"), extras=struct.pack(">QQL", 1, 1, 0))).status == 0
    assert soon(await expiry_of(named, key_in(300, b"n")))
    for flags in (1, 2):  # make it if it is missing; only then
        path = struct.pack(">HB", 1, 0) + bytes([flags])
        key = key_in(300, b"doc%d" % flags)
        assert (await named.call(Opcode.SUBDOC_DICT_UPSERT, key=key, extras=path, value=b"a1")).status == 0
        assert soon(await expiry_of(named, key))
    assert await put(named, key_in(8, b"k")) == 0
    assert await expiry_of(named, key_in(8, b"k")) == 0


async def test_a_change_of_a_document_keeps_when_it_expires(named) -> None:
    k = key_in(300, b"k")
    assert await put(named, k, b"{}", expiry=20) == 0
    before = await expiry_of(named, k)
    path = struct.pack(">HB", 1, 0) + b"\1"
    assert (await named.call(Opcode.SUBDOC_DICT_UPSERT, key=k, extras=path, value=b"a1")).status == 0
    assert await expiry_of(named, k) == before


# What a collection holds


async def test_each_is_walked_by_itself(service, named) -> None:
    for number, count in ((0, 3), (8, 5), (300, 7)):
        for item in range(count):
            assert await put(named, key_in(number, b"%d" % item)) == 0
    for number, count in ((0, 3), (8, 5), (300, 7)):
        reply = await named.call(Opcode.GET_KEYS, key=key_in(number, b"0"))
        key = key_in(number, b"0")
        assert len(reply.value) == count * (2 + len(key))
        assert reply.value.startswith(struct.pack(">H", len(key)) + key)
        chosen = {(await named.call(Opcode.GET_RANDOM_KEY, extras=number.to_bytes(4, "big"))).key for _ in range(100)}
        assert chosen <= {key_in(number, b"%d" % item) for item in range(count)}
        assert len(chosen) > 1
        scan = (await named.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(collection=number)))).value
        reply = await named.call(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan, 0, 0, 0))
        assert reply.status == Status.SCAN_COMPLETE
        assert [document.key for document in unpack_scan(reply.value, False)] == [b"%d" % item for item in range(count)]
    reply = await named.call(Opcode.GET_RANDOM_KEY, extras=(9).to_bytes(4, "big"))
    assert reply.status == Status.UNKNOWN_COLLECTION
    reply = await named.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(collection=9)))
    assert reply.status == Status.UNKNOWN_COLLECTION
    async with service.connect() as classic:
        assert (await classic.call(Opcode.GET_RANDOM_KEY)).key in (b"0", b"1", b"2")
        assert (await classic.call(Opcode.GET_RANDOM_KEY, extras=(300).to_bytes(4, "big"))).key in {
            b"%d" % item for item in range(7)
        }


async def test_an_empty_collection(named) -> None:
    assert (await named.call(Opcode.GET_RANDOM_KEY, extras=(8).to_bytes(4, "big"))).status == Status.NOT_FOUND
    assert (await named.call(Opcode.GET_KEYS, key=key_in(8, b"a"))).value == b""
    reply = await named.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(collection=8)))
    assert reply.status == Status.NOT_FOUND


async def test_counts(service, named) -> None:
    assert await put(named, key_in(0, b"k"), b"12345") == 0
    assert await put(named, key_in(8, b"k"), b"1") == 0
    assert await put(named, key_in(300, b"k"), b"12") == 0
    rows = await stat(named, b"collections")
    assert rows[b"manifest_uid"] == b"0x2"
    counts = {
        name: rows[b"0x8:0x%x:%s" % (number, name)] for number, name in ((8, b"items"), (300, b"data_size"), (300, b"maxTTL"))
    }
    assert counts == {b"items": b"1", b"data_size": b"5", b"maxTTL": b"50"}
    assert (rows[b"0x0:0x0:items"], rows[b"0x0:0x0:data_size"], rows[b"0x8:0x8:name"]) == (b"1", b"7", b"orders")
    assert set(await stat(named, b"collections shop.orders")) == {
        b"0x8:0x8:" + name for name in (b"name", b"scope_name", b"items", b"data_size")
    }
    rows = await stat(named, b"scopes")
    assert (rows[b"0x8:name"], rows[b"0x8:collections"], rows[b"0x8:items"]) == (b"shop", b"2", b"2")
    assert (rows[b"0x0:items"], rows[b"manifest_uid"]) == (b"1", b"0x2")
    assert await stat(named, b"keys shop.orders") != {}
    for group in (b"collections none.none", b"scopes none", b"keys none.none"):
        assert (await named.call(Opcode.STAT, key=group)).status == Status.NOT_FOUND


async def test_flush_empties_all_collections(service, named) -> None:
    for number in (0, 8, 300):
        assert await put(named, key_in(number, b"k")) == 0
    assert (await named.call(Opcode.FLUSH)).status == Status.NOT_SUPPORTED
    async with service.connect() as classic:
        assert (await classic.call(Opcode.FLUSH)).status == 0
    for number in (0, 8, 300):
        assert (await named.call(Opcode.GET, key=key_in(number, b"k"))).status == Status.NOT_FOUND
    rows = await stat(named, b"collections")
    assert (rows[b"manifest_uid"], rows[b"0x8:0x8:items"]) == (b"0x2", b"0")
