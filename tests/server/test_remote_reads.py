"""An engine whose reads have to wait: they run in worker threads, and the event loop goes on."""

from __future__ import annotations

import struct
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from trio_spool.mcbp import Feature, Opcode, Status, encode_request

EXTRAS = bytes(8)
PATH = struct.pack(">HB", 1, 0)
READS = {
    Opcode.GET: {"value": b""},
    Opcode.GETK: {},
    Opcode.GET_META: {},
    Opcode.SUBDOC_GET: {"extras": PATH, "value": b"n"},
}


@pytest.fixture
def hooks() -> Hooks:
    return Hooks(local=False)


@pytest.fixture
async def service(run_service, hooks):
    async with run_service(engine=hooks.kind(), drain_timeout=1) as served:
        yield served


@pytest.mark.parametrize("opcode", READS, ids=lambda opcode: opcode.name.lower())
async def test_the_event_loop_goes_on_while_a_read_waits(service, hooks, raw, opcode: Opcode) -> None:
    await raw.call(Opcode.SET, key=b"k", value=b'{"n":1}', extras=EXTRAS)
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        assert threading.current_thread() is not threading.main_thread()
        reached.set()
        assert go_on.wait(20)

    hooks.before_get = wait
    await raw.send(encode_request(opcode, key=b"k", opaque=7, **READS[opcode]))
    assert await trio.to_thread.run_sync(reached.wait, 20)
    async with service.connect() as other:
        assert (await other.call(Opcode.NOOP)).status == 0
        assert (await other.call(Opcode.SET, key=b"other", extras=EXTRAS)).status == 0
    go_on.set()
    reply = await raw.receive()
    assert (reply.opcode, reply.opaque, reply.status) == (opcode, 7, 0)


@pytest.mark.parametrize("unordered", [False, True])
async def test_reads_see_what_was_written_before_them(service, raw, unordered: bool) -> None:
    if unordered:
        await raw.hello(Feature.UNORDERED_EXECUTION)
    frames = []
    for number in range(20):
        frames.append(encode_request(Opcode.SETQ, key=b"k%d" % number, value=b"%d" % number, extras=EXTRAS))
        frames.append(encode_request(Opcode.GET, key=b"k%d" % number, opaque=number))
    await raw.send(*frames, encode_request(Opcode.GETQ, key=b"none"), encode_request(Opcode.NOOP, opaque=99))
    replies = [await raw.receive() for _ in range(21)]
    assert replies[-1].opaque == 99
    assert {reply.opaque: reply.value for reply in replies[:-1]} == {number: b"%d" % number for number in range(20)}
    assert service.inside.counters.streams == 21  # each read was a job


async def test_a_quiet_miss_says_nothing_also_where_replies_tell_their_time(raw) -> None:
    await raw.hello(Feature.TRACING)
    await raw.send(encode_request(Opcode.GETQ, key=b"none", opaque=1), encode_request(Opcode.GET, key=b"none", opaque=2))
    assert (await raw.receive()).opaque == 2


async def test_misses_touches_and_locks(raw) -> None:
    for opcode in READS:
        assert (await raw.call(opcode, key=b"none", **READS[opcode])).status == Status.NOT_FOUND
    await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)
    assert (await raw.call(Opcode.GAT, key=b"k", extras=bytes(4))).value == b"v"
    assert (await raw.call(Opcode.GET_LOCKED, key=b"k")).value == b"v"


async def test_leaving_while_a_read_waits(service, hooks, until) -> None:
    reached, go_on = threading.Event(), threading.Event()
    hooks.before_get = lambda: (reached.set(), go_on.wait(20))
    async with service.connect() as leaving:
        await leaving.send(encode_request(Opcode.GET, key=b"k"))
        assert await trio.to_thread.run_sync(reached.wait, 20)
    await wait_all_tasks_blocked()  # the reader has seen the end
    go_on.set()
    await until(lambda: not service.inside.connections and service.inside.limiter.borrowed_tokens == 0)


async def test_nothing_of_a_reader_is_called_in_the_event_loop(hooks, raw) -> None:
    calls = []
    hooks.reader_called = lambda: calls.append(threading.current_thread() is threading.main_thread())
    for opcode in READS:
        await raw.call(opcode, key=b"k", **READS[opcode])
    await raw.send(*(encode_request(opcode, key=b"k", extras=EXTRAS) for opcode in (Opcode.SET, Opcode.ADD)))
    for _ in range(2):
        await raw.receive()
    assert len(calls) == 2 * len(READS)  # get and close
    assert not any(calls)


async def test_a_read_that_fails_is_an_error(hooks, raw) -> None:
    def fail() -> None:
        raise RuntimeError("the network is down")

    hooks.before_get = fail
    assert (await raw.call(Opcode.GET, key=b"k")).status == Status.INTERNAL
    assert (await raw.call(Opcode.NOOP)).status == 0
