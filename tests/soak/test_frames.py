"""Frames of every command, whole, mutated and random: the server answers or disconnects, logs no error, and keeps nothing of them."""

from __future__ import annotations

import random

import pytest

from support.process import running
from support.soaking import Lost, Wire, gives_back, scaled
from trio_spool.mcbp import HEADER, KeyRule, Opcode, encode_request
from trio_spool.server.protocols.binary import TABLE

FRAMES = scaled(10_000, 1_000_000)
BURST = 50  # frames for each connection
LAST = 0xFFFFFFFF  # the opaque of the last request that is answered
# All commands but those that end a connection, and those that are answered slowly if they are refused.
_LEFT_OUT = (Opcode.QUIT, Opcode.QUITQ, Opcode.SASL_AUTH, Opcode.SASL_STEP)
OPCODES = [opcode for opcode in Opcode if TABLE.shapes[opcode] is not None and opcode not in _LEFT_OUT]
# What commands look for in keys and values.
WORDS = (
    b"k", b"", b"0", b"-1", b"1" * 30, b"{}", b"[1,2,[3]]", b'{"a":{"b":[1]}}', b"a.b[0]", b"`a`", b"[-1]", b"\xff\xfe", b"_default._default", b"keys",
    b"$document", b"$vbucket", b"$XTOC", b"_sync.a", b"PLAIN", b"\0ann\0secret", b"SCRAM-SHA256", b'{"range":{"start":"AA==","end":"/w=="}}', b'{"uid":"1"}',
    b'{"file_id":1,"offset":0,"length":10}', b"\x00\x01\x00\x01a", bytes(8), bytes(20), b"\x22\x7f" * 4,
)  # fmt: skip


def some_frame(chance: random.Random) -> bytes:
    """Return a frame that has the right shape for its command. What is in it may be anything."""
    opcode = chance.choice(OPCODES)
    shape = TABLE.shapes[opcode]
    assert shape is not None
    extras = bytearray(chance.choice(sorted(shape.extras)))
    while extras and chance.random() < 0.5:
        extras[chance.randrange(len(extras))] = chance.randrange(256)
    key = value = b""
    if shape.key is not KeyRule.NONE:
        key = b"".join(chance.choices(WORDS, k=chance.randrange(1, 3)))[:200] or b"k"
    if shape.value:
        value = b"".join(chance.choices(WORDS, k=chance.randrange(4)))
    cas = chance.choice([0, 0, 0, 1, chance.randrange(1 << 64)])
    vbucket = chance.choice([0, 0, 0, 0, 1, 1024, 0xFFFF])
    return encode_request(
        opcode, key=key, value=value, extras=bytes(extras), cas=cas, vbucket=vbucket, opaque=chance.randrange(LAST)
    )


def broken_frame(chance: random.Random) -> bytes:
    """Return bytes that are no frame, or no longer."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(1, 60))
    frame = bytearray(some_frame(chance))
    for _ in range(chance.randrange(1, 4)):
        frame[chance.randrange(HEADER.size)] = chance.randrange(256)
    return bytes(frame[: chance.randrange(1, len(frame) + 1)])


def exchange(port: int, chance: random.Random) -> int:
    """Send frames, wait for the answers, and then send what breaks the protocol. Return the number of answers."""
    answers = 0
    with Wire(port) as wire:
        try:
            wire.send(*(some_frame(chance) for _ in range(BURST - 2)), encode_request(Opcode.NOOP, opaque=LAST))
            while wire.receive().opaque != LAST:
                answers += 1
            wire.send(broken_frame(chance))
            wire.socket.settimeout(0.01)
            wire.receive()
        except (Lost, TimeoutError):
            pass
    return answers


def delete_buckets(port: int) -> None:
    """Delete the buckets that frames have created: each has a thread."""
    with Wire(port) as wire:
        for name in wire.call(Opcode.LIST_BUCKETS).value.split():
            assert name == b"default" or wire.call(Opcode.DELETE_BUCKET, key=name).status == 0


@pytest.mark.timeout(scaled(120, 7200))
@pytest.mark.parametrize("engine", ["memory", "lmdb"])
def test_no_frame_breaks_the_server(tmp_path, engine: str) -> None:
    seed = scaled(3, random.randrange(1 << 32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    place = ("--engine", "memory") if engine == "memory" else (str(tmp_path / "data"),)
    bounds = ("--max-item-size", "100000", "--max-scan-life", "5", "--snapshot-idle", "5", "--login-timeout", "inf")
    with running("--listen", "tcp://127.0.0.1:0", *place, "--fsync", "no", *bounds) as server:
        for _ in range(20):  # what is loaded late is loaded now
            exchange(server.port, chance)
        delete_buckets(server.port)
        with gives_back(server.popen.pid, server.port, memory=2):
            answers = sum(exchange(server.port, chance) for _ in range(FRAMES // BURST))
            delete_buckets(server.port)
        assert answers > FRAMES / 2  # quiet commands have none
        status, log = server.stop()
    assert status == 0
    assert "Traceback" not in log, log
