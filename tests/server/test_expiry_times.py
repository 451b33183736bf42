"""Expiries as clients give them: seconds from now up to thirty days, and Unix times above that; whichever command has one."""

from __future__ import annotations

import math
import struct
import time

import pytest

from trio_spool.mcbp import Opcode, Status, encode_request

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
