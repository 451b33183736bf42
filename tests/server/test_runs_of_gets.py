"""One odd frame in a pipelined run of GETs, wherever it stands: all others are answered as if it were not there."""

from __future__ import annotations

import pytest
import trio

from trio_spool.mcbp import HEADER, Feature, Opcode, Status, encode_request

# GETs are decoded in runs where there are at least 8.
COUNT = 20
ODD = 0xDD
KEY = b"key:%02d"


def header(
    magic: int = 0x80, opcode: int = Opcode.GET, key: int = 6, extras: int = 0, datatype: int = 0, vbucket: int = 0,
    body: int = 6, cas: int = 0,
) -> bytes:  # fmt: skip
    return HEADER.pack(magic, opcode, key, extras, datatype, vbucket, body, ODD, cas)


# Requests that break a rule, each with the status that says so, and whether it ends a classic session, and a Couchbase session.
# Their keys and bodies are those of the GETs around them wherever that is possible.
MALFORMED = {
    "a value behind the key": (header(body=9) + b"key:99abc", Status.INVALID, True, False),
    "one byte behind the key": (header(body=7) + b"key:99k", Status.INVALID, True, False),
    "a value that looks like a GET": (header(body=6 + 30) + b"key:99" + encode_request(0, key=b"key:98"), Status.INVALID, True, False),
    "a body shorter than the key": (header(body=5) + b"key:99", Status.UNKNOWN_COMMAND, True, True),
    "no body": (header(body=0), Status.UNKNOWN_COMMAND, True, True),
    "a key longer than the body": (header(key=7) + b"key:99", Status.UNKNOWN_COMMAND, True, True),
    "a key with a high byte": (header(key=0x0106) + b"key:99", Status.UNKNOWN_COMMAND, True, True),
    "extras that the body has no room for": (header(extras=4) + b"key:99", Status.UNKNOWN_COMMAND, True, True),
    "a body with its third byte": (header(body=0x106) + b"key:99" + bytes(0x100), Status.INVALID, True, False),
    "a body with its second byte": (header(body=0x10006) + b"key:99" + bytes(0x10000), Status.INVALID, True, False),
    "a body above the limit": (header(body=31 * 1024 * 1024) + b"key:99", Status.INVALID, True, True),
    "a body with the highest bit": (header(body=1 << 31 | 6) + b"key:99", Status.INVALID, True, True),
    "no key": (header(key=0, body=0), Status.INVALID, True, False),
    "no key, but a body": (header(key=0) + b"key:99", Status.INVALID, True, False),
    "a key of 251 bytes": (header(key=251, body=251) + b"k" * 251, Status.INVALID, True, False),
    "a key of 256 bytes": (header(key=256 + 6, body=256 + 6) + b"k" * 262, Status.INVALID, True, False),
    "extras": (header(extras=4, body=10) + b"\0\0\0\0key:99", Status.INVALID, True, False),
    "extras in place of the key": (header(key=2, extras=4) + b"key:99", Status.INVALID, True, False),
    "a datatype": (header(datatype=1) + b"key:99", Status.INVALID, True, False),
    "an unknown frame info": (header(magic=0x08, key=0x0106, body=7) + b"\xe0key:99", Status.UNKNOWN_FRAME_INFO, False, False),
    "a frame info cut off": (header(magic=0x08, key=0x0106, body=7) + b"\x11key:99", Status.INVALID, False, False),
    "framing extras longer than the body": (header(magic=0x08, key=0x0706) + b"key:99", Status.UNKNOWN_COMMAND, True, True),
    "a SET without extras": (header(opcode=Opcode.SET) + b"key:99", Status.INVALID, True, False),
    "a NOOP with a key": (header(opcode=Opcode.NOOP) + b"key:99", Status.INVALID, True, False),
    "a value that is too big": (
        header(opcode=Opcode.SET, extras=8, body=14 + 100_001) + bytes(8) + b"key:99" + bytes(100_001), Status.TOO_BIG, False, False,
    ),
}  # fmt: skip
# Requests that break none, and are still no plain GETs of an item that is there.
ODDITIES = {
    "a miss": (header() + b"key:99", Status.NOT_FOUND),
    "a vbucket that is not there": (header(vbucket=1) + b"key:01", Status.NOT_MY_VBUCKET),
    "a vbucket with a high byte": (header(vbucket=0x100) + b"key:01", Status.NOT_MY_VBUCKET),
    "the highest vbucket": (header(vbucket=0xFFFF) + b"key:01", Status.NOT_MY_VBUCKET),
    "an opcode that is not known": (header(opcode=0x77) + b"key:01", Status.UNKNOWN_COMMAND),
    "a CAS": (header(cas=1) + b"key:01", 0),
    "a CAS in its first byte": (header(cas=1 << 56) + b"key:01", 0),
    "a longer key": (header(key=7, body=7) + b"key:100", Status.NOT_FOUND),
    "a barrier": (header(magic=0x08, key=0x0106, body=7) + b"\0key:01", 0),
    "a GETK": (header(opcode=Opcode.GETK) + b"key:01", 0),
    "a GETQ": (header(opcode=Opcode.GETQ) + b"key:01", 0),
    "a NOOP": (header(opcode=Opcode.NOOP, key=0, body=0), 0),
    "a DELETE of something else": (header(opcode=Opcode.DELETE) + b"key:99", Status.NOT_FOUND),
}
SESSIONS = {
    "classic": (),
    "couchbase": (Feature.XERROR,),
    "collections": (Feature.XERROR, Feature.COLLECTIONS),
}


@pytest.fixture
async def stored(service) -> None:
    async with service.connect() as raw:
        for number in range(COUNT):
            await raw.call(Opcode.SET, key=KEY % number, value=b"value %d" % number, extras=bytes(8))


def get(number: int, collections: bool) -> bytes:
    return encode_request(Opcode.GET, key=bytes(collections) + KEY % number, opaque=number)


async def answers(raw, numbers) -> None:
    for number in numbers:
        reply = await raw.receive()
        assert (reply.opaque, reply.status, reply.value) == (number, 0, b"value %d" % number)


async def race(service, features, frame: bytes, position: int, status: int, ends: bool) -> None:
    """Send a run with the frame at a position, and look at everything that is answered."""
    collections = Feature.COLLECTIONS in features
    async with service.connect() as raw:
        if features:
            await raw.hello(*features)
        run = [get(number, collections) for number in range(COUNT)]
        run.insert(position, frame)
        with trio.fail_after(20):
            await raw.send(*run)
            await answers(raw, range(position))
            reply = await raw.receive()
            assert (reply.opaque, reply.status) == (ODD, status)
            if ends:
                assert await raw.closed()
            else:
                await answers(raw, range(position, COUNT))
                assert (await raw.call(Opcode.NOOP, opaque=COUNT)).opaque == COUNT


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_malformed_frame(service, stored, kind: str, session: str) -> None:
    frame, status, ends_classic, ends_couchbase = MALFORMED[kind]
    if session == "collections" and kind == "a key of 251 bytes":
        pytest.skip("that is a key of its collection, and of 250 bytes")
    for position in range(COUNT + 1):
        await race(service, SESSIONS[session], frame, position, status, ends_classic if session == "classic" else ends_couchbase)


@pytest.mark.parametrize("session", ["classic", "couchbase"])
@pytest.mark.parametrize("kind", ODDITIES)
async def test_an_odd_one(service, stored, kind: str, session: str) -> None:
    frame, status = ODDITIES[kind]
    if "CAS" in kind and session == "couchbase":
        status = Status.INVALID
    for position in range(COUNT + 1):
        await race(service, SESSIONS[session], frame, position, status, False)


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("magic", [0x00, 0x81, 0x18, 0xFF])
async def test_a_bad_magic(service, stored, session: str, magic: int) -> None:
    """What comes before it is answered, and then the connection is closed without a word: it keeps its protocol."""
    features = SESSIONS[session]
    for position in range(0 if features else 1, COUNT + 1):  # the first byte of all would choose another protocol
        async with service.connect() as raw:
            if features:
                await raw.hello(*features)
            run = [get(number, Feature.COLLECTIONS in features) for number in range(COUNT)]
            run.insert(position, header(magic=magic) + b"key:01")
            with trio.fail_after(20):
                await raw.send(*run)
                await answers(raw, range(position))
                assert await raw.closed()
