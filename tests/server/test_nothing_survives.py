"""Nothing of a connection survives it: its memory is free when it has ended, and not only after a collection of garbage."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import struct
import types
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool._core.trio._loop import TrioLoop
from trio_spool._core.trio._manners import TrioManners
from trio_spool.mcbp import Feature, Opcode, ScanRequest, encode_request, encode_scan_request
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)
LARGE = 3_000_000
# They belong to a whole run of Trio: the run of the test before may be freed while this one runs.
OF_A_RUN = (TrioLoop, TrioManners)


def is_ours(thing: object) -> bool:
    """Whether a piece of garbage belongs to a connection, or is a large piece of data."""
    if isinstance(thing, (bytes, bytearray)):
        return len(thing) >= 10_000
    if isinstance(thing, types.FrameType):
        return "trio_spool" in thing.f_code.co_filename
    if isinstance(thing, (types.CoroutineType, types.GeneratorType)):
        return "trio_spool" in (thing.cr_code if isinstance(thing, types.CoroutineType) else thing.gi_code).co_filename
    return type(thing).__module__.startswith("trio_spool") and type(thing) not in OF_A_RUN


@contextlib.contextmanager
def no_collector() -> Iterator[list[object]]:
    """Switch the collector off within the block; the list then has what only the collector found."""
    garbage: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage += [repr(thing)[:200] for thing in gc.garbage if is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def store(service, count: int, context: ssl.SSLContext | None = None) -> None:
    async with service.connect(context) as raw:
        for number in range(count):
            assert (await raw.call(Opcode.SET, key=b"k%d" % number, value=bytes(LARGE), extras=EXTRAS)).status == 0


def reset(raw) -> None:
    """Leave in such a way that the server gets an error."""
    stream = getattr(raw.stream, "transport_stream", raw.stream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def leaves_politely(raw) -> None:
    await raw.call(Opcode.NOOP)


async def leaves_in_the_middle_of_a_set(raw) -> None:
    frame = encode_request(Opcode.SET, key=b"new", value=bytes(LARGE), extras=EXTRAS)
    await raw.send(frame[:-200])


async def resets_in_the_middle_of_a_set(raw) -> None:
    await leaves_in_the_middle_of_a_set(raw)
    reset(raw)


async def reads_nothing(raw) -> None:
    await raw.send(*[encode_request(Opcode.GET, key=b"k%d" % number) for number in range(4)] * 20)
    await wait_all_tasks_blocked()


async def reads_nothing_and_resets(raw) -> None:
    await reads_nothing(raw)
    reset(raw)


async def reads_nothing_and_sends_bad_bytes(raw) -> None:
    await raw.send(encode_request(Opcode.GET, key=b"k0"), encode_request(Opcode.NOOP), bytes(30))


async def sends_bad_bytes(raw) -> None:
    await raw.send(b"\x80", bytes(23), bytes(30))


async def speaks_no_protocol(raw) -> None:
    await raw.send(b"GET / HTTP/1.1\r\n\r\n")


async def leaves_a_scan_open(raw) -> None:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
    assert reply.status == 0


async def leaves_in_the_middle_of_a_scan(raw) -> None:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=reply.value + bytes(12)))
    await raw.receive()


async def overlaps_scans(raw) -> None:
    await raw.hello(Feature.UNORDERED_EXECUTION, Feature.JSON)
    scans = [(await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value for _ in range(3)]
    await raw.send(*[encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=scan + bytes(12)) for scan in scans])
    await wait_all_tasks_blocked()


async def leaves_in_the_middle_of_statistics(raw) -> None:
    await raw.send(*[encode_request(Opcode.STAT, key=b"settings")] * 50)


async def waits_for_a_commit(raw) -> None:
    await raw.send(encode_request(Opcode.SET, key=b"new", value=bytes(LARGE), extras=EXTRAS))


async def logs_in_wrongly(raw) -> None:
    await raw.call(Opcode.SASL_AUTH, key=b"PLAIN", value=b"no")


async def asks_for_what_is_unknown(raw) -> None:
    await raw.call(0xF3)
    await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=bytes(28))


WAYS = [
    leaves_politely, leaves_in_the_middle_of_a_set, resets_in_the_middle_of_a_set, reads_nothing, reads_nothing_and_resets,
    reads_nothing_and_sends_bad_bytes, sends_bad_bytes, speaks_no_protocol, leaves_a_scan_open, leaves_in_the_middle_of_a_scan,
    overlaps_scans, leaves_in_the_middle_of_statistics, waits_for_a_commit, logs_in_wrongly, asks_for_what_is_unknown,
]  # fmt: skip


async def gone(service) -> None:
    """Wait until no connection is open, and until its tasks have ended."""
    with trio.fail_after(20):
        while len(service.inside.connections):
            await trio.sleep(0.001)
    await wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_connection_is_freed_by_reference_counts(run_service, way) -> None:
    async with run_service(send_timeout=60, tuning=Tuning(first_refusal=0.001)) as service:
        await store(service, 4)
        await gone(service)
        with no_collector() as garbage:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with service.connect() as raw:
                    await way(raw)
                    connection = [weakref.ref(each) for each in service.inside.connections]
                    raw = None
            await gone(service)
            with trio.fail_after(20):  # the writer thread may be at work for it; the collector is off, so a cycle would stay
                while any(each() is not None for each in connection):
                    await trio.sleep(0.001)
        assert garbage == []


async def test_a_client_that_is_given_up_is_freed(run_service) -> None:
    async with run_service(send_timeout=0.05) as service:
        await store(service, 4)
        await gone(service)
        with no_collector() as garbage:
            async with service.connect() as raw:
                await reads_nothing(raw)
                await gone(service)
        assert garbage == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_client_over_tls_is_freed(run_service, authority, way) -> None:
    context = authority.client()
    async with run_service(
        listen=("tls://127.0.0.1:0",), **authority.files, send_timeout=60, tuning=Tuning(first_refusal=0.001)
    ) as service:
        await store(service, 4, context)
        await gone(service)
        with no_collector() as garbage:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with service.connect(context) as raw:
                    await way(raw)
                    raw = None
            await gone(service)
        assert garbage == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""])
async def test_a_client_without_a_handshake_is_freed(run_service, authority, data: bytes) -> None:
    async with run_service(listen=("tls://127.0.0.1:0",), **authority.files, tuning=Tuning(tls_timeout=0.1)) as service:
        with no_collector() as garbage:
            for leave in (lambda raw: None, reset):
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async with service.connect() as raw:
                        await raw.send(data)
                        leave(raw)
                        raw = None
            await gone(service)
        assert garbage == []


@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_that_is_turned_away_is_freed(run_service, authority, tls: bool) -> None:
    context = authority.client() if tls else None
    listen = ("tls://127.0.0.1:0",) if tls else ("tcp://127.0.0.1:0",)
    options = {"listen": listen, "max_connections": 1, "tuning": Tuning(farewell=0.05)}
    async with run_service(**options, **(authority.files if tls else {})) as service, service.connect(context) as first:
        await first.call(Opcode.NOOP)
        with no_collector() as garbage:
            for leave in (leaves_politely, sends_bad_bytes, leaves_in_the_middle_of_a_set):
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, AssertionError):
                    async with service.connect(context) as raw:
                        await leave(raw)
                        raw = None
            with trio.fail_after(20):
                while service.service.reception.turned_away:
                    await trio.sleep(0.001)
            await wait_all_tasks_blocked(0.01)
        assert garbage == []


async def test_clients_are_freed_when_the_service_stops(run_service) -> None:
    with no_collector() as garbage:
        async with run_service(drain_timeout=0.05) as service:
            await store(service, 4)
            async with service.connect() as first, service.connect() as second:
                await reads_nothing(first)
                await leaves_in_the_middle_of_a_set(second)
                service.stop.set()
                await gone(service)
    assert garbage == []
