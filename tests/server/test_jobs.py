"""Long commands: ordered and unordered, barriers, and what they leave behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool.mcbp import (
    Feature,
    FrameInfo,
    FrameInfoId,
    Opcode,
    Status,
    encode_frame_infos,
    encode_request,
)
from trio_spool.server.settings import MAX_JOBS
from trio_spool.server.statistics import GROUPS, Group, RawRow

EXTRAS = bytes(8)
UNORDERED = Feature.UNORDERED_EXECUTION
BARRIER = encode_frame_infos([FrameInfo(FrameInfoId.BARRIER, b"")])


class Held:
    """Groups of statistics whose producers wait for us."""

    def __init__(self) -> None:
        self.began: dict[str, threading.Event] = {}
        self.go_on: dict[str, threading.Event] = {}
        self.closed: list[str] = []

    def group(self, service, bucket, argument: str):
        began, go_on = self.began[argument], self.go_on[argument]

        def rows() -> Iterator[tuple[bytes, bytes]]:
            try:
                began.set()
                assert go_on.wait(20)
                yield RawRow(argument.encode(), b"1")
                yield RawRow(argument.encode(), b"2")
            finally:
                self.closed.append(argument)

        return rows()

    def add(self, name: str) -> bytes:
        self.began[name], self.go_on[name] = threading.Event(), threading.Event()
        return encode_request(Opcode.STAT, key=b"held " + name.encode(), opaque=ord(name))

    async def wait_began(self, name: str) -> None:
        assert await trio.to_thread.run_sync(self.began[name].wait, 20)


@pytest.fixture
def held(monkeypatch):
    held = Held()
    monkeypatch.setitem(GROUPS, "held", Group("held", held.group))
    yield held
    for event in held.go_on.values():
        event.set()


def noop(opaque: int) -> bytes:
    return encode_request(Opcode.NOOP, opaque=opaque)


def get(key: bytes, opaque: int, **kwargs) -> bytes:
    return encode_request(Opcode.GET, key=key, opaque=opaque, **kwargs)


async def opaques(raw, count: int) -> list[int]:
    return [(await raw.receive()).opaque for _ in range(count)]


async def test_unordered_is_granted_only_when_asked_for(raw) -> None:
    await raw.hello(Feature.XERROR)
    await raw.hello(Feature.XERROR, UNORDERED)


async def test_an_ordered_connection_answers_in_order(service, raw, held) -> None:
    await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
    await raw.send(held.add("a"), get(b"k", 1), held.add("b"), noop(2))
    await held.wait_began("a")
    await wait_all_tasks_blocked()
    assert not held.began["b"].is_set()
    held.go_on["b"].set()
    held.go_on["a"].set()
    a, b = ord("a"), ord("b")
    assert await opaques(raw, 8) == [a, a, a, 1, b, b, b, 2]


async def test_reorderable_commands_overlap(service, raw, held) -> None:
    await raw.hello(UNORDERED)
    await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
    await raw.send(held.add("a"), held.add("b"), get(b"k", 1), encode_request(Opcode.SET, key=b"l", extras=EXTRAS, opaque=2))
    assert await opaques(raw, 2) == [1, 2]
    await held.wait_began("a")
    held.go_on["b"].set()
    assert await opaques(raw, 3) == [ord("b")] * 3
    await raw.send(get(b"k", 3))
    assert await opaques(raw, 1) == [3]
    held.go_on["a"].set()
    assert await opaques(raw, 3) == [ord("a")] * 3


@pytest.mark.parametrize("barrier", [noop(7), get(b"none", 7, framing=BARRIER)], ids=["noop", "frame info"])
async def test_a_barrier_waits_and_is_waited_for(service, raw, held, barrier: bytes) -> None:
    await raw.hello(UNORDERED)
    await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
    await raw.send(held.add("a"), get(b"k", 1), barrier, get(b"k", 2))
    assert await opaques(raw, 1) == [1]
    await held.wait_began("a")
    await wait_all_tasks_blocked()
    held.go_on["a"].set()
    a = ord("a")
    assert await opaques(raw, 5) == [a, a, a, 7, 2]


async def test_a_long_command_may_be_a_barrier(service, raw, held) -> None:
    await raw.hello(UNORDERED)
    held.add("b")
    barrier = encode_request(Opcode.STAT, key=b"held b", opaque=ord("b"), framing=BARRIER)
    await raw.send(held.add("a"), barrier, get(b"none", 1))
    await held.wait_began("a")
    await wait_all_tasks_blocked()
    assert not held.began["b"].is_set()
    held.go_on["b"].set()
    held.go_on["a"].set()
    a, b = ord("a"), ord("b")
    assert await opaques(raw, 7) == [a, a, a, b, b, b, 1]


async def test_so_many_overlap_and_no_more(service, raw, held) -> None:
    await raw.hello(UNORDERED)
    names = "abcdefg"
    await raw.send(*(held.add(name) for name in names))
    for name in names[:MAX_JOBS]:
        await held.wait_began(name)
    await wait_all_tasks_blocked()
    assert not any(held.began[name].is_set() for name in names[MAX_JOBS:])
    held.go_on["c"].set()
    assert await opaques(raw, 3) == [ord("c")] * 3
    await held.wait_began("e")
    for name in names:
        held.go_on[name].set()
    found = await opaques(raw, 3 * (len(names) - 1))
    assert sorted(found) == sorted([ord(name) for name in names if name != "c"] * 3)


async def test_mutations_before_a_long_command_are_seen_by_it(raw) -> None:
    await raw.hello(UNORDERED)
    sets = [encode_request(Opcode.SETQ, key=b"k%d" % number, extras=EXTRAS) for number in range(10)]
    await raw.send(*sets, encode_request(Opcode.STAT, key=b"keys"))
    found = []
    while (response := await raw.receive()).key:
        found.append(response.key)
    assert found == [b"k%d" % number for number in range(10)]


async def test_a_failure_is_that_commands_alone(service, raw, held, monkeypatch) -> None:
    def failing(served, bucket, argument):
        def rows():
            yield RawRow(b"first", b"1")
            raise RuntimeError("in the middle")

        return rows()

    monkeypatch.setitem(GROUPS, "failing", Group("failing", failing))
    await raw.hello(UNORDERED)
    await raw.send(held.add("a"), encode_request(Opcode.STAT, key=b"failing", opaque=1))
    first, error = await raw.receive(), await raw.receive()
    assert (first.opaque, first.key, error.opaque, error.status) == (1, b"first", 1, Status.INTERNAL)
    held.go_on["a"].set()
    assert await opaques(raw, 3) == [ord("a")] * 3


async def test_leaving_stops_all_of_them(service, held, until) -> None:
    async with service.connect() as raw:
        await raw.hello(UNORDERED)
        await raw.send(held.add("a"), held.add("b"))
        await held.wait_began("a")
        await held.wait_began("b")
    await wait_all_tasks_blocked()
    for event in held.go_on.values():
        event.set()
    await until(lambda: not service.inside.connections)
    assert sorted(held.closed) == ["a", "b"]
    assert service.inside.limiter.borrowed_tokens == 0


async def test_draining_lets_them_finish(run_service, held) -> None:
    async with run_service(drain_timeout=60) as service, service.connect() as raw:
        await raw.hello(UNORDERED)
        await raw.send(held.add("a"), get(b"none", 1))
        assert await opaques(raw, 1) == [1]
        await held.wait_began("a")
        await wait_all_tasks_blocked()
        service.stop.set()
        await wait_all_tasks_blocked()
        held.go_on["a"].set()
        assert await opaques(raw, 3) == [ord("a")] * 3
        assert await raw.closed()


async def test_the_look_ahead_is_that_of_the_connection(run_service, held) -> None:
    """Several long commands in one read do not each read ahead."""
    async with run_service(look_ahead=1000) as service, service.connect() as raw:
        await raw.send(held.add("a"), held.add("b"), noop(1) * 30)
        await held.wait_began("a")
        (connection,) = service.inside.connections
        await raw.send(noop(2) * 30)
        await wait_all_tasks_blocked()
        assert len(connection._ahead) == 30 * 24
        await raw.send(noop(3) * 5000)
        await wait_all_tasks_blocked()
        assert len(connection._ahead) == 1000
        held.go_on["a"].set()
        await held.wait_began("b")
        await wait_all_tasks_blocked()
        assert len(connection._ahead) == 1000
        held.go_on["b"].set()
        assert await opaques(raw, 6 + 5060) == [ord("a")] * 3 + [ord("b")] * 3 + [1] * 30 + [2] * 30 + [3] * 5000


async def test_interleaved_answers_are_whole_frames(run_service) -> None:
    async with run_service(window=20_000, batch=5_000) as service, service.connect() as raw:
        await raw.hello(UNORDERED)
        await raw.send(*(encode_request(Opcode.SETQ, key=b"k%05d" % number, extras=EXTRAS) for number in range(20_000)))
        await raw.send(*(encode_request(Opcode.STAT, key=b"keys", opaque=number) for number in range(1, 4)))
        found: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
        order, ended = [], 0
        while ended < 3:
            response = await raw.receive()
            if not response.key:
                ended += 1
            else:
                found[response.opaque].append(response.key)
                order.append(response.opaque)
        assert all(keys == [b"k%05d" % number for number in range(20_000)] for keys in found.values())
        assert order != sorted(order)  # they did overlap
        spool = {}
        await raw.send(encode_request(Opcode.STAT, key=b"connections"))
        while (response := await raw.receive()).key:
            spool = json.loads(response.value)["spool"]
        assert spool["high_water"] <= 20_000
