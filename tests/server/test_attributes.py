"""Extended attributes are returned as they were stored, byte for byte, whatever JSON they are."""

from __future__ import annotations

import json
import struct

import pytest

from trio_spool.engine import Item, members
from trio_spool.mcbp import Feature, Opcode, PathFlag, encode_request, pack_xattrs, unpack_scan
from trio_spool.server.data import virtual_attributes

EXTRAS = bytes(8)
XATTR = PathFlag.XATTR | PathFlag.CREATE
# What Python's own JSON would refuse, or write in another way.
VALUES = [
    b"1" * 5000, b"12345678901234567.1", b'"\\ud800"', b'{"a" : 1.0, "a":2}', b"[1E5,-0]", '"é\\u00e9"'.encode(),
    b"[" * 300 + b"]" * 300,
]  # fmt: skip


def path(opcode: int, path: bytes, value: bytes = b"", key: bytes = b"k", **kwargs) -> bytes:
    return encode_request(opcode, key=key, extras=struct.pack(">HB", len(path), XATTR), value=path + value, **kwargs)


@pytest.fixture
async def sub(raw):
    await raw.hello(Feature.XATTR, Feature.JSON, Feature.XERROR)
    assert (await raw.call(Opcode.SET, key=b"k", value=b"{}", extras=EXTRAS)).status == 0
    for number, value in enumerate(VALUES):
        await raw.send(path(Opcode.SUBDOC_DICT_UPSERT, b"x%d" % number, value))
        assert (await raw.receive()).status == 0
    return raw


async def test_lookups(sub) -> None:
    for number, value in enumerate(VALUES):
        await sub.send(path(Opcode.SUBDOC_GET, b"x%d" % number))
        assert (await sub.receive()).value == value
    await sub.send(
        encode_request(Opcode.SET, key=b"one", value=b"1", extras=EXTRAS, opaque=1),
        path(Opcode.SUBDOC_GET, b"$XTOC", opaque=2),
        encode_request(Opcode.SET, key=b"two", value=b"2", extras=EXTRAS, opaque=3),
    )
    replies = [await sub.receive() for _ in range(3)]
    assert [(reply.opaque, reply.status) for reply in replies] == [(1, 0), (2, 0), (3, 0)]
    assert json.loads(replies[1].value) == [f"x{number}" for number in range(len(VALUES))]


async def test_scans(sub) -> None:
    wanted = {"range": {"start": "", "end": "/w=="}, "include_xattrs": True}
    created = await sub.call(Opcode.RANGE_SCAN_CREATE, value=json.dumps(wanted).encode(), datatype=1)
    assert created.status == 0
    scanned = await sub.call(Opcode.RANGE_SCAN_CONTINUE, extras=created.value + struct.pack(">LLL", 0, 0, 0))
    (document,) = unpack_scan(scanned.value, keys_only=False)
    pairs = [(b"x%d" % number, value) for number, value in enumerate(VALUES)]
    assert document.value == pack_xattrs(pairs) + b"{}"
    assert struct.unpack_from(">L", document.value)[0] == sum(6 + len(name) + len(value) for name, value in pairs)


def test_names_are_packed_as_they_are_written() -> None:
    xattrs = b'{"a\\"b":1}'
    assert pack_xattrs(members(xattrs)) == struct.pack(">LL", 11, 7) + b'a\\"b\x001\x00'
    assert virtual_attributes(Item(b"", xattrs=xattrs), 1, lambda: 0)[b"$XTOC"]() == b'["a\\"b"]'
