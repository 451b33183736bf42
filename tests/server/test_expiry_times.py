"""Expiries as clients give them: seconds from now up to thirty days, and Unix times above that; whichever command has one."""

from __future__ import annotations

import math
import struct
import time

import pytest

from trio_spool._formats import Collection, Scope
from trio_spool.engine import Remember, Store, open_engine
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request, unpack_scan
from trio_spool.server import Settings
from trio_spool.server.commands.expiry import absolute_expiry, expiry_in
from trio_spool.server.data import Bucket, Manifest

THIRTY_DAYS = 2_592_000
FAR = 4_000_000_000


def store(expiry: int) -> bytes:
    return encode_request(Opcode.SET, key=b"k", value=b"1", extras=struct.pack(">LL", 0, expiry))


def touch(expiry: int) -> bytes:
    return encode_request(Opcode.TOUCH, key=b"k", extras=struct.pack(">L", expiry))


def get_and_touch(expiry: int) -> bytes:
    return encode_request(Opcode.GAT, key=b"k", extras=struct.pack(">L", expiry))


def increment(expiry: int) -> bytes:
    """Make a counter: it is not there before."""
    delete = encode_request(Opcode.DELETEQ, key=b"k")
    return delete + encode_request(Opcode.INCREMENT, key=b"k", extras=struct.pack(">QQL", 1, 1, expiry))


def edit(expiry: int) -> bytes:
    return encode_request(Opcode.SUBDOC_DICT_UPSERT, key=b"k", extras=struct.pack(">HBL", 1, 0, expiry), value=b"a1")


COMMANDS = [store, touch, get_and_touch, increment, edit]


@pytest.fixture
async def raw(service):
    """A connection, where an item is stored that is an object, and never expires."""
    async with service.connect() as connection:
        assert (await connection.call(Opcode.SET, key=b"k", value=b"{}", extras=bytes(8))).status == 0
        yield connection


async def expiry_of(raw) -> int | None:
    """Return when an item expires; 0 for never, and None if it is not there."""
    reply = await raw.call(Opcode.GET_META, key=b"k", extras=b"\2")
    return None if reply.status == Status.NOT_FOUND else struct.unpack_from(">L", reply.extras, 8)[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("seconds", [1000, THIRTY_DAYS - 1, THIRTY_DAYS])
async def test_seconds_from_now(raw, command, seconds: int) -> None:
    """Rounded up: nothing expires early."""
    before = math.ceil(time.time())
    await raw.send(command(seconds))
    assert (await raw.receive()).status == 0
    after = math.ceil(time.time())
    assert before + seconds <= await expiry_of(raw) <= after + seconds


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("expiry", "found"), [(FAR, FAR), (0, 0), (THIRTY_DAYS + 1, None)])
async def test_unix_times(raw, command, expiry: int, found: int | None) -> None:
    await raw.send(command(expiry))
    assert (await raw.receive()).status == 0
    assert await expiry_of(raw) == found


@pytest.mark.parametrize(
    ("delay", "flushed"), [(0, True), (1000, False), (THIRTY_DAYS, False), (THIRTY_DAYS + 1, True), (FAR, False)]
)
async def test_a_flush_with_a_delay(raw, delay: int, flushed: bool) -> None:
    assert (await raw.call(Opcode.FLUSH, extras=struct.pack(">L", delay))).status == 0
    assert (await raw.call(Opcode.GET, key=b"k")).status == (Status.NOT_FOUND if flushed else 0)


YEAR_2038 = 1 << 31
LATEST = (1 << 32) - 1
LONGEST = Scope(8, "s", (Collection(8, "c", max_ttl=(1 << 31) - 1),))


@pytest.mark.parametrize(("expiry", "expected"), [(0, LATEST), (5, YEAR_2038 + 5), (LATEST, LATEST)])
def test_no_expiry_is_beyond_32_bits(expiry: int, expected: int) -> None:
    """From 2038 on, the largest maxTTL leads beyond them, where no reply and no scan can follow."""
    with open_engine("memory") as engine:
        engine.execute([Remember(b"manifest", Manifest(2, (*Manifest().scopes, LONGEST)).to_json())])
        assert expiry_in(Bucket("b", engine, Settings(engine="memory")), b"\x08k", expiry, lambda: YEAR_2038 + 0.0) == expected
    assert absolute_expiry(5, lambda: LATEST - 2.0) == LATEST


async def test_a_stored_expiry_beyond_32_bits_is_shown_as_the_latest(service, raw) -> None:
    """As an older version may have left it."""
    bucket = service.service.shared.buckets.default
    assert (await bucket.operate([Store(b"\0k", b"v", expiry=1 << 40)]))[0].problem is None
    assert await expiry_of(raw) == LATEST
    scan = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value
    reply = await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan, 0, 0, 0))
    assert reply.status == Status.SCAN_COMPLETE
    (document,) = unpack_scan(reply.value, keys_only=False)
    assert (document.value, document.expiry) == (b"v", LATEST)
