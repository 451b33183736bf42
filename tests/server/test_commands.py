"""What the commands reply, on the wire."""

from __future__ import annotations

import json
import struct
import time

import pytest

from trio_spool.mcbp import Feature, Opcode, Status, encode_request
from trio_spool.server.protocols.binary import COMMANDS

SET_EXTRAS = struct.pack(">LL", 0xDEADBEEF, 0)


def store(opcode: int = Opcode.SET, key: bytes = b"k", value: bytes = b"v", flags: int = 0, expiry: int = 0, **kw) -> bytes:
    return encode_request(opcode, key=key, value=value, extras=struct.pack(">LL", flags, expiry), **kw)


def count(opcode: int, key: bytes = b"n", delta: int = 1, initial: int = 0, expiry: int = 0, **kw) -> bytes:
    return encode_request(opcode, key=key, extras=struct.pack(">QQL", delta, initial, expiry), **kw)


async def ask(raw, frame: bytes):
    await raw.send(frame)
    return await raw.receive()


async def get(raw, key: bytes = b"k"):
    return await raw.call(Opcode.GET, key=key)


async def test_set_and_get(raw) -> None:
    stored = await ask(raw, store(value=b"value", flags=0xDEADBEEF, opaque=77))
    assert (stored.status, stored.opaque, stored.opcode) == (0, 77, Opcode.SET)
    assert stored.cas and not stored.extras and not stored.value
    found = await raw.call(Opcode.GET, key=b"k", opaque=5)
    assert (found.value, found.extras, found.cas, found.opaque, found.key) == (b"value", b"\xde\xad\xbe\xef", stored.cas, 5, b"")
    found = await raw.call(Opcode.GETK, key=b"k")
    assert (found.key, found.value) == (b"k", b"value")


async def test_misses(raw) -> None:
    missing = await raw.call(Opcode.GET, key=b"none", opaque=9)
    assert (missing.status, missing.opaque, missing.cas, missing.extras, missing.key) == (Status.NOT_FOUND, 9, 0, b"", b"")
    assert missing.value and missing.datatype == 0
    for opcode, extras in ((Opcode.GETK, b""), (Opcode.GATK, bytes(4))):
        missing = await raw.call(opcode, key=b"none", extras=extras)
        # The key, and no text, as in memcached.
        assert (missing.status, missing.key, missing.value) == (Status.NOT_FOUND, b"none", b"")


async def test_quiet_gets_answer_hits_with_their_own_opcode(raw) -> None:
    await ask(raw, store())
    await raw.send(
        encode_request(Opcode.GETQ, key=b"none"),
        encode_request(Opcode.GETKQ, key=b"none"),
        encode_request(Opcode.GETQ, key=b"k", opaque=1),
        encode_request(Opcode.GETKQ, key=b"k", opaque=2),
        encode_request(Opcode.NOOP, opaque=3),
    )
    first, second, third = [await raw.receive() for _ in range(3)]
    assert (first.opcode, first.opaque, first.key) == (Opcode.GETQ, 1, b"")
    assert (second.opcode, second.opaque, second.key) == (Opcode.GETKQ, 2, b"k")
    assert (third.opcode, third.opaque, third.cas) == (Opcode.NOOP, 3, 0)


async def test_add_replace(raw) -> None:
    assert (await ask(raw, store(Opcode.REPLACE))).status == Status.NOT_FOUND
    assert (await ask(raw, store(Opcode.ADD))).status == 0
    assert (await ask(raw, store(Opcode.ADD))).status == Status.EXISTS
    assert (await ask(raw, store(Opcode.REPLACE, value=b"w"))).status == 0
    assert (await get(raw)).value == b"w"


async def test_cas(raw) -> None:
    assert (await ask(raw, store(cas=5))).status == Status.NOT_FOUND
    assert (await ask(raw, store(Opcode.REPLACE, cas=5))).status == Status.NOT_FOUND
    cas = (await ask(raw, store())).cas
    assert (await ask(raw, store(cas=cas + 1))).status == Status.EXISTS
    newer = (await ask(raw, store(cas=cas))).cas
    assert newer > cas
    assert (await raw.call(Opcode.DELETE, key=b"k", cas=cas)).status == Status.EXISTS
    assert (await raw.call(Opcode.DELETE, key=b"k", cas=newer)).status == 0


async def test_append_prepend_keep_flags(raw) -> None:
    assert (await raw.call(Opcode.APPEND, key=b"k", value=b"x")).status == Status.NOT_STORED
    assert (await raw.call(Opcode.PREPEND, key=b"k", value=b"x")).status == Status.NOT_STORED
    await ask(raw, store(value=b"middle", flags=7))
    assert (await raw.call(Opcode.APPEND, key=b"k", value=b">")).cas
    assert (await raw.call(Opcode.PREPEND, key=b"k", value=b"<")).cas
    found = await get(raw)
    assert (found.value, found.extras) == (b"<middle>", b"\0\0\0\7")


async def test_append_past_the_limit(raw) -> None:
    await ask(raw, store(value=b"x" * 99_999))
    assert (await raw.call(Opcode.APPEND, key=b"k", value=b"yz")).status == Status.NOT_STORED
    assert len((await get(raw)).value) == 99_999


async def test_delete(raw) -> None:
    assert (await raw.call(Opcode.DELETE, key=b"k")).status == Status.NOT_FOUND
    await ask(raw, store())
    deleted = await raw.call(Opcode.DELETE, key=b"k")
    assert (deleted.status, deleted.cas) == (0, 0)
    assert (await get(raw)).status == Status.NOT_FOUND


async def test_counters(raw) -> None:
    missing = await ask(raw, count(Opcode.INCREMENT, expiry=0xFFFFFFFF))
    assert missing.status == Status.NOT_FOUND
    made = await ask(raw, count(Opcode.INCREMENT, initial=10))
    assert (made.status, made.value) == (0, struct.pack(">Q", 10))
    assert made.cas
    assert (await get(raw, b"n")).value == b"10"
    assert (await ask(raw, count(Opcode.INCREMENT, delta=5))).value == struct.pack(">Q", 15)
    assert (await ask(raw, count(Opcode.DECREMENT, delta=20))).value == struct.pack(">Q", 0)
    await ask(raw, store(key=b"n", value=b"%d" % (2**64 - 1)))
    assert (await ask(raw, count(Opcode.INCREMENT, delta=2))).value == struct.pack(">Q", 1)


@pytest.mark.parametrize(
    "text", [b"abc", b"", b"12x", b" 12", b" ", b"1 2 ", b"1\t", b"1" + b" " * 256, b"-1", b"18446744073709551616", b"0" * 21]
)
async def test_not_a_number(raw, text: bytes) -> None:
    await ask(raw, store(key=b"n", value=text))
    assert (await ask(raw, count(Opcode.INCREMENT))).status == Status.NOT_A_NUMBER
    assert (await get(raw, b"n")).value == text


@pytest.mark.parametrize("opcode", [Opcode.ADD, Opcode.ADDQ])
async def test_what_is_new_has_no_cas(raw, opcode: int) -> None:
    await raw.hello(Feature.XERROR)
    reply = await ask(raw, store(opcode, cas=5))
    assert (reply.opcode, reply.status) == (opcode, Status.INVALID)
    assert (await get(raw)).status == Status.NOT_FOUND


@pytest.mark.parametrize("text", [b"5 ", b"5" + b" " * 19, b"5" + b" " * 255])
async def test_blanks_behind_a_number(raw, text: bytes) -> None:
    """Where memcached decrements a number to fewer digits, it pads it with blanks."""
    for opcode, number in ((Opcode.INCREMENT, 6), (Opcode.DECREMENT, 4)):
        await ask(raw, store(key=b"n", value=text))
        assert (await ask(raw, count(opcode))).value == struct.pack(">Q", number)
        assert (await get(raw, b"n")).value == b"%d" % number


async def test_quiet_mutations_answer_only_failures(raw) -> None:
    await raw.send(
        store(Opcode.SETQ, opaque=1),
        store(Opcode.ADDQ, opaque=2),
        store(Opcode.REPLACEQ, key=b"none", opaque=3),
        encode_request(Opcode.APPENDQ, key=b"k", value=b"a"),
        encode_request(Opcode.PREPENDQ, key=b"k", value=b"p"),
        encode_request(Opcode.APPENDQ, key=b"none", value=b"a", opaque=4),
        count(Opcode.INCREMENTQ),
        count(Opcode.DECREMENTQ),
        count(Opcode.INCREMENTQ, key=b"k", opaque=5),
        encode_request(Opcode.DELETEQ, key=b"n"),
        encode_request(Opcode.DELETEQ, key=b"n", opaque=6),
        encode_request(Opcode.GETQ, key=b"k", opaque=7),
        encode_request(Opcode.NOOP, opaque=8),
    )
    replies = [await raw.receive() for _ in range(7)]
    assert [(reply.opaque, reply.opcode, reply.status) for reply in replies] == [
        (2, Opcode.ADDQ, Status.EXISTS),
        (3, Opcode.REPLACEQ, Status.NOT_FOUND),
        (4, Opcode.APPENDQ, Status.NOT_STORED),
        (5, Opcode.INCREMENTQ, Status.NOT_A_NUMBER),
        (6, Opcode.DELETEQ, Status.NOT_FOUND),
        (7, Opcode.GETQ, 0),
        (8, Opcode.NOOP, 0),
    ]
    assert replies[5].value == b"pva"


async def test_touch_and_gat(raw) -> None:
    expiry = struct.pack(">L", 100)
    assert (await raw.call(Opcode.TOUCH, key=b"k", extras=expiry)).status == Status.NOT_FOUND
    assert (await raw.call(Opcode.GAT, key=b"k", extras=expiry)).status == Status.NOT_FOUND
    await ask(raw, store(flags=3))
    assert (await raw.call(Opcode.TOUCH, key=b"k", extras=expiry)).status == 0
    found = await raw.call(Opcode.GAT, key=b"k", extras=expiry)
    assert (found.value, found.extras) == (b"v", b"\0\0\0\3")
    assert (await raw.call(Opcode.GATK, key=b"k", extras=expiry)).key == b"k"
    await raw.send(
        encode_request(Opcode.GATQ, key=b"none", extras=expiry),
        encode_request(Opcode.GATQ, key=b"k", extras=expiry, opaque=1),
        encode_request(Opcode.NOOP),
    )
    assert (await raw.receive()).opaque == 1
    assert (await raw.receive()).opcode == Opcode.NOOP
    past = struct.pack(">L", int(time.time()) - 10)
    await raw.call(Opcode.TOUCH, key=b"k", extras=past)
    assert (await get(raw)).status == Status.NOT_FOUND


async def test_expiry(raw) -> None:
    await ask(raw, store(expiry=1000))
    assert (await get(raw)).status == 0
    await ask(raw, store(expiry=31 * 24 * 3600))
    assert (await get(raw)).status == Status.NOT_FOUND
    await ask(raw, store(expiry=int(time.time()) + 3600))
    assert (await get(raw)).status == 0


@pytest.mark.parametrize("opcode", [Opcode.FLUSH, Opcode.FLUSHQ])
async def test_flush(raw, opcode: int) -> None:
    await ask(raw, store())
    await raw.send(encode_request(opcode), encode_request(Opcode.NOOP))
    if opcode == Opcode.FLUSH:
        reply = await raw.receive()
        assert (reply.status, reply.cas) == (0, 0)
    await raw.receive()
    assert (await get(raw)).status == Status.NOT_FOUND
    assert (await ask(raw, store(Opcode.ADD))).status == 0


async def test_flush_with_a_delay(raw) -> None:
    assert (await raw.call(Opcode.FLUSH, extras=struct.pack(">L", 1000))).status == 0
    await ask(raw, store())
    assert (await get(raw)).status == 0
    assert (await raw.call(Opcode.FLUSH, extras=struct.pack(">L", 0))).status == 0
    assert (await get(raw)).status == Status.NOT_FOUND


async def test_flush_disabled(run_service) -> None:
    async with run_service(disable_flush=True) as service, service.connect() as raw:
        await ask(raw, store())
        assert (await raw.call(Opcode.FLUSH)).status == Status.NOT_SUPPORTED
        assert (await get(raw)).status == 0


async def test_control(raw) -> None:
    assert (await raw.call(Opcode.NOOP)).status == 0
    version = await raw.call(Opcode.VERSION)
    assert int(version.value.split(b".")[0]) >= 1
    assert version.cas == 0
    assert (await raw.call(Opcode.VERBOSITY, extras=struct.pack(">L", 2))).status == 0


async def test_quit(service) -> None:
    async with service.connect() as raw:
        assert (await raw.call(Opcode.QUIT, opaque=4)).opaque == 4
        assert await raw.closed()
    async with service.connect() as raw:
        await raw.send(store(opaque=1), encode_request(Opcode.QUITQ), encode_request(Opcode.NOOP))
        assert (await raw.receive()).opaque == 1
        assert await raw.closed()


async def test_unknown_command(raw) -> None:
    reply = await raw.call(0x77, key=b"k", value=b"v", opaque=3)
    assert (reply.status, reply.opaque, reply.opcode) == (Status.UNKNOWN_COMMAND, 3, 0x77)
    assert (await raw.call(Opcode.NOOP)).status == 0


async def test_read_your_writes_in_one_pipeline(raw) -> None:
    await raw.send(*(store(value=b"%d" % n, opaque=n) + encode_request(Opcode.GET, key=b"k") for n in range(200)))
    for number in range(200):
        assert (await raw.receive()).opaque == number
        assert (await raw.receive()).value == b"%d" % number


async def test_deep_pipeline(raw) -> None:
    frames = [store(key=b"%d" % n, value=b"v" * 100, opaque=n) for n in range(20_000)]
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.send, *frames)
        for number in range(20_000):
            assert (await raw.receive()).opaque == number


async def test_hello_makes_a_couchbase_session(raw) -> None:
    features = [Feature.MUTATION_SEQNO, Feature.XERROR, Feature.JSON, Feature.DUPLEX, 0x7777, Feature.JSON]
    reply = await raw.call(Opcode.HELLO, key=b'{"a":"test/1"}', value=struct.pack(">6H", *features))
    assert struct.unpack(">3H", reply.value) == (Feature.MUTATION_SEQNO, Feature.XERROR, Feature.JSON)
    stored = await ask(raw, store(value=b"{}", datatype=1))
    uuid, seqno = struct.unpack(">QQ", stored.extras)
    assert uuid and seqno == 1
    assert (await get(raw)).datatype == 1
    assert (await raw.call(Opcode.DELETE, key=b"k")).cas
    error = await raw.call(0x77)
    assert "context" in json.loads(error.value)["error"]
    assert error.datatype == 1
    assert (await raw.call(Opcode.GET, key=b"k")).value == b""
    assert (await raw.call(Opcode.FLUSH)).status == Status.NOT_SUPPORTED
    bad = await ask(raw, encode_request(Opcode.GET))
    assert bad.status == Status.INVALID
    assert (await raw.call(Opcode.NOOP)).status == 0
    assert (await raw.call(Opcode.HELLO, key=b"plain", value=b"")).value == b""
    assert (await raw.call(Opcode.GET, key=b"k")).value != b""
    await ask(raw, store())
    assert (await raw.call(Opcode.HELLO, key=b"odd", value=b"\0")).status == Status.INVALID


async def test_datatype_that_was_not_negotiated(raw) -> None:
    assert (await ask(raw, store(datatype=1))).status == Status.INVALID
    assert await raw.closed()


@pytest.mark.parametrize("opcode", [opcode for command in COMMANDS if command.quiet is not None for opcode in command.opcodes])
async def test_every_command_echoes_the_opaque_of_a_misshapen_request(service, opcode: int) -> None:
    async with service.connect() as raw:
        reply = await raw.call(opcode, extras=b"abc", opaque=0xCAFE)
        assert (reply.status, reply.opaque, reply.opcode) == (Status.INVALID, 0xCAFE, opcode)
        assert await raw.closed()


async def test_set_too_big_removes_the_old_value_and_keeps_in_step(raw) -> None:
    for opcode, expected in ((Opcode.REPLACE, 0), (Opcode.SETQ, Status.NOT_FOUND), (Opcode.SET, Status.NOT_FOUND)):
        await ask(raw, store())
        reply = await ask(raw, store(opcode, value=b"x" * 100_001, opaque=6))
        assert (reply.status, reply.opcode, reply.opaque) == (Status.TOO_BIG, opcode, 6)
        assert (await get(raw)).status == expected
    assert (await ask(raw, store(value=b"x" * 100_000))).status == 0


async def test_keys(raw) -> None:
    assert (await ask(raw, store(key=b"k" * 250))).status == 0
    assert (await get(raw, b"k" * 250)).value == b"v"
    assert (await raw.call(Opcode.GET, key=b"k" * 251)).status == Status.INVALID
    assert await raw.closed()
