"""Load of every kind with clients that misbehave: what the server holds and how long others wait stays the same all the time."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.process import Process, running
from support.soaking import Lost, Wire, gives_back, held_by, scaled
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request

SECONDS = scaled(8.0, float(os.environ.get("TRIO_SPOOL_SOAK_SECONDS", "3600")))
SAMPLES = scaled(8, 360)  # equal spans of time
KEYS = 2000
PAUSE = 0.002  # seconds between two requests of the client whose waits are measured
STORE = bytes(8)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


def reads_and_writes(wire: Wire, chance: random.Random) -> None:
    """Pipelines of requests for single items, all of which are answered."""
    frames = []
    for _ in range(chance.randrange(1, 60)):
        key = b"k%d" % chance.randrange(KEYS)
        if chance.random() < 0.5:
            frames.append(encode_request(Opcode.GET, key=key))
        elif chance.random() < 0.8:
            frames.append(encode_request(Opcode.SET, key=key, extras=STORE, value=b"v" * chance.choice([10, 500, 5000])))
        else:
            frames.append(encode_request(Opcode.DELETE, key=key))
    wire.send(*frames)
    for _ in frames:
        assert wire.receive().status in (Status.OK, Status.NOT_FOUND)


def edits(wire: Wire, chance: random.Random) -> None:
    """A document, and changes of its members."""
    key = b"doc%d" % chance.randrange(20)
    wire.call(Opcode.SET, key=key, extras=STORE, value=b'{"list":[' + b"1," * chance.choice([10, 30_000]) + b"1]}")
    path = b"list[-1]"
    extras = struct.pack(">HB", len(path), 0)
    reply = wire.call(Opcode.SUBDOC_REPLACE, key=key, extras=extras, value=path + b"2")
    assert reply.status in (Status.OK, Status.NOT_FOUND, Status.TEMPORARY_FAILURE), reply


def streams(wire: Wire, chance: random.Random) -> None:
    """All keys; now and then the client leaves in the middle."""
    wire.send(encode_request(Opcode.STAT, key=b"keys"))
    while wire.receive().key:
        if chance.random() < 0.0005:
            raise Lost


def scans(wire: Wire, chance: random.Random) -> None:
    """A range scan in steps; now and then the client leaves it open."""
    reply = wire.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
    if reply.status != Status.OK:
        assert reply.status in (Status.NOT_FOUND, Status.BUSY, Status.TEMPORARY_FAILURE), reply
        return
    while True:
        wire.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(reply.value, 300, 0, 0)))
        while (part := wire.receive()).status == Status.OK:
            pass
        if part.status in (Status.SCAN_COMPLETE, Status.SCAN_CANCELLED):  # on a busy machine, its time may be over
            return
        assert part.status == Status.SCAN_MORE, part
        if chance.random() < 0.1:
            raise Lost


def does_not_read(wire: Wire, chance: random.Random) -> None:
    """Asks for everything, waits, and resets the connection."""
    wire.send(*[encode_request(Opcode.STAT, key=b"keys")] * 5)
    time.sleep(chance.random() * 0.5)
    raise Lost


def breaks_off(wire: Wire, chance: random.Random) -> None:
    """Sends a part of a large value."""
    wire.call(Opcode.NOOP)
    frame = encode_request(Opcode.SET, key=b"large", extras=STORE, value=bytes(2_000_000))
    wire.send(frame[: chance.randrange(len(frame))])
    raise Lost


def sends_nonsense(wire: Wire, chance: random.Random) -> None:
    """Sends bytes that are no frames."""
    wire.send(encode_request(Opcode.NOOP), b"?", chance.randbytes(100))
    while True:
        wire.receive()


WAYS: tuple[Callable[[Wire, random.Random], None], ...] = (
    reads_and_writes, reads_and_writes, edits, streams, scans, does_not_read, breaks_off, sends_nonsense,
)  # fmt: skip


class Load:
    """Clients of every kind, until they are told to end.

    Attributes:
        errors: What should not have happened.
        rounds: How often each kind of client has done its work.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(way, seed + number)) for number, way in enumerate(WAYS)]
        self.errors: list[BaseException] = []
        self.rounds = dict.fromkeys((way.__name__ for way in WAYS), 0)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, way: Callable[[Wire, random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not self._ending.is_set():
                with Wire(self._port) as wire:
                    try:
                        while not self._ending.is_set():
                            way(wire, chance)
                            self.rounds[way.__name__] += 1
                    except Lost:
                        self.rounds[way.__name__] += 1
                        if chance.random() < 0.5:
                            wire.socket.setsockopt(1, 13, RESET)  # SOL_SOCKET, SO_LINGER
        except BaseException as exc:
            self.errors.append(exc)


def waits(wire: Wire, seconds: float) -> list[float]:
    """Ask for one item again and again, and return how long each answer took, in seconds."""
    taken = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        assert wire.call(Opcode.GET, key=b"probe").status == Status.OK
        taken.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return taken


def sample(server: Process, wire: Wire, seconds: float) -> dict[str, float]:
    """Measure for a while."""
    taken = waits(wire, seconds)
    held = held_by(server.popen.pid)
    return {
        "p50_ms": statistics.median(taken) * 1000,
        "p99_ms": statistics.quantiles(taken, n=100)[98] * 1000,
        "memory_mib": held.memory / (1 << 20),
        "threads": held.threads,
        "descriptors": held.descriptors,
    }


@pytest.mark.timeout(scaled(120, int(SECONDS) + 600))
def test_load(tmp_path: Path) -> None:
    seed = scaled(11, random.randrange(1 << 32))
    print(f"seed {seed}")
    options = ("--max-item-size", "3000000", "--max-scan-life", "5", "--send-timeout", "5")
    with running("--listen", "tcp://127.0.0.1:0", *options, str(tmp_path / "data")) as server:
        with Wire(server.port) as wire:
            assert wire.call(Opcode.SET, key=b"probe", extras=STORE, value=b"v").status == Status.OK
            with Load(server.port, seed):  # what is loaded late, and threads that are kept, are there from now on
                waits(wire, SECONDS / SAMPLES)
        samples = []
        with gives_back(server.popen.pid, server.port, memory=2), Wire(server.port) as wire, Load(server.port, seed + 1) as load:
            for number in range(SAMPLES):
                samples.append(sample(server, wire, SECONDS / SAMPLES))
                if number % 3 == 1:
                    server.popen.send_signal(signal.SIGHUP)
                if number % 3 == 2:
                    server.popen.send_signal(signal.SIGSTOP)  # as on a machine that is suspended
                    time.sleep(0.2)
                    server.popen.send_signal(signal.SIGCONT)
        _keep(samples)
        print(load.rounds)
        assert load.errors == []
        assert all(load.rounds.values())
        half = SAMPLES // 2
        most = max(one["memory_mib"] for one in samples[:half])
        assert max(one["memory_mib"] for one in samples[half:]) < 1.5 * most, samples
        status, log = server.stop()
    assert status == 0
    assert "Traceback" not in log, log
    assert len(log.splitlines()) < 20 + SECONDS, log


def _keep(samples: list[dict[str, float]]) -> None:
    """Keep what was measured, for the plot of the long run."""
    if place := os.environ.get("TRIO_SPOOL_SOAK_RESULTS"):
        Path(place).write_text(json.dumps({"seconds": SECONDS, "samples": samples}, indent=1) + "\n")
