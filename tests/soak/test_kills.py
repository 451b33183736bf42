"""Kills at random moments, under writes of every kind: what was acknowledged is there, and nothing that was never asked for."""

from __future__ import annotations

import random
import signal
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from support.process import Process
from support.soaking import Lost, Wire, scaled, wait_until
from trio_spool.mcbp import Opcode, Status, encode_request

KILLS = scaled(10, 200)
WRITERS = 3
KEYS = 50  # of each writer
DEPTH = 8  # requests that a writer has under way
STORE = bytes(8)  # extras: no flags, no expiry
COUNTER = struct.pack(">QQL", 1, 100, 0)  # extras: add 1, begin with 100, no expiry

Value = bytes | None


class Mutation(NamedTuple):
    """A request that changes an item, and what it makes of each value that the item may have."""

    frame: bytes
    key: bytes
    change: Callable[[Value], Value]


def increment(value: Value) -> Value:
    if value is None:
        return b"100"
    return b"%d" % (int(value) + 1) if value.isdigit() else value


def some_mutation(chance: random.Random, prefix: bytes, opaque: int) -> Mutation:
    key = b"%b%d" % (prefix, chance.randrange(KEYS))
    value = b"%d" % opaque if chance.random() < 0.5 else b"%d:" % opaque * chance.choice([1, 20, 2000])

    def asked(opcode: Opcode, change: Callable[[Value], Value], extras: bytes = b"", value: bytes = b"") -> Mutation:
        return Mutation(encode_request(opcode, key=key, extras=extras, value=value, opaque=opaque), key, change)

    return chance.choice(
        [
            asked(Opcode.SET, lambda old: value, STORE, value),
            asked(Opcode.SET, lambda old: value, STORE, value),
            asked(Opcode.ADD, lambda old: value if old is None else old, STORE, value),
            asked(Opcode.REPLACE, lambda old: old if old is None else value, STORE, value),
            asked(Opcode.APPEND, lambda old: old if old is None else old + b"+", b"", b"+"),
            asked(Opcode.PREPEND, lambda old: old if old is None else b"-" + old, b"", b"-"),
            asked(Opcode.INCREMENT, increment, COUNTER),
            asked(Opcode.DELETE, lambda old: None),
        ]
    )


class Writer:
    """Changes its own keys, and knows what they may hold: what was acknowledged, and each step of what was not.

    Attributes:
        known: The value of each key after the last request that was answered.
        waiting: The requests that were sent and not answered, in order.
    """

    def __init__(self, number: int, seed: int) -> None:
        self.prefix = b"w%d-" % number
        self.known: dict[bytes, Value] = {}
        self.waiting: deque[Mutation] = deque()
        self.acknowledged = 0
        self._chance = random.Random(seed * WRITERS + number)
        self._opaque = 0

    def run(self, port: int) -> None:
        """Write until the server is gone."""
        try:
            with Wire(port) as wire:
                while True:
                    while len(self.waiting) < DEPTH:
                        self._opaque += 1
                        mutation = some_mutation(self._chance, self.prefix, self._opaque)
                        self.waiting.append(mutation)
                        wire.send(mutation.frame)
                    reply = wire.receive()
                    mutation = self.waiting.popleft()
                    assert reply.opaque == int.from_bytes(mutation.frame[12:16], "big")
                    self._note(mutation, reply.status)
        except (Lost, OSError):
            pass

    def _note(self, mutation: Mutation, status: int) -> None:
        old = self.known.get(mutation.key)
        new = mutation.change(old)
        if status == Status.OK:
            self.acknowledged += 1
        else:
            refused = (Status.EXISTS, Status.NOT_FOUND, Status.NOT_STORED, Status.NOT_A_NUMBER)
            assert status in refused and new == old, (status, mutation, old)
        self.known[mutation.key] = new

    def check(self, wire: Wire) -> None:
        """Compare with what a server has, which is what is known from now on."""
        for number in range(KEYS):
            key = b"%b%d" % (self.prefix, number)
            reply = wire.call(Opcode.GET, key=key)
            assert reply.status in (Status.OK, Status.NOT_FOUND)
            found = reply.value if reply.status == Status.OK else None
            possible = [self.known.get(key)]
            for mutation in self.waiting:
                if mutation.key == key:
                    possible.append(mutation.change(possible[-1]))
            assert found in possible, (key, found, possible)
            self.known[key] = found
        self.waiting.clear()


@pytest.mark.timeout(scaled(120, 3600))
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_kills_lose_nothing_acknowledged(tmp_path: Path, fsync: str) -> None:
    arguments = ("--listen", "tcp://127.0.0.1:0", "--fsync", fsync, str(tmp_path / "data"))
    seed = scaled(7, random.randrange(1 << 32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    writers = [Writer(number, seed) for number in range(WRITERS)]
    for _ in range(KILLS // 2):
        server = Process(*arguments)
        with Wire(server.port) as wire:
            for writer in writers:
                writer.check(wire)
        before = [writer.acknowledged for writer in writers]
        threads = [threading.Thread(target=writer.run, args=(server.port,)) for writer in writers]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: all(writer.acknowledged > old for writer, old in zip(writers, before, strict=True)))
            time.sleep(chance.random() * scaled(0.2, 1.0))  # a random moment
        finally:
            server.stop(signal.SIGKILL)
            for thread in threads:
                thread.join()
            server.popen.stdout.close()
            server.popen.stderr.close()
    server = Process(*arguments)
    with Wire(server.port) as wire:
        for writer in writers:
            writer.check(wire)
    assert server.stop() == (0, "")
