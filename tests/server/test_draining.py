"""How a service stops: what was asked is answered, however it arrives, and nobody who comes late is left waiting."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from support.service import Raw
from trio_spool.mcbp import Feature, Opcode, ScanRequest, SnapshotRequirements, Status, encode_request, encode_scan_request
from trio_spool.server.data import vbucket_of
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)


async def waiting_scan(raw, mutations: int, opaque: int) -> bytes:
    """Encode the create of a scan that waits for so many mutations."""
    observed = (await raw.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
    uuid, seqno = int.from_bytes(observed[3:11], "big"), int.from_bytes(observed[11:19], "big")
    wanted = ScanRequest(requirements=SnapshotRequirements(vbucket_uuid=uuid, seqno=seqno + mutations, timeout=60))
    return encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(wanted), opaque=opaque)


@pytest.mark.parametrize("pieces", [2, 3, 10])
async def test_a_request_that_arrives_in_pieces_is_answered(run_service, pieces: int) -> None:
    async with run_service(drain_timeout=60) as service, service.connect() as raw:
        frame = encode_request(Opcode.SET, key=b"key", value=bytes(20_000), extras=EXTRAS, opaque=7)
        size = -(-len(frame) // pieces)
        first, *rest = (frame[start : start + size] for start in range(0, len(frame), size))
        await raw.call(Opcode.NOOP)
        await raw.send(first)
        await wait_all_tasks_blocked()
        service.stop.set()
        for piece in rest:
            await wait_all_tasks_blocked()
            await raw.send(piece)
        with trio.fail_after(20):
            reply = await raw.receive()
        assert (reply.opaque, reply.status) == (7, 0)
        assert await raw.closed()


async def test_a_long_command_goes_on_when_what_was_half_received_has_been_answered(run_service) -> None:
    async with run_service(drain_timeout=60, tuning=Tuning(between_scans=0)) as service, service.connect() as raw:
        await raw.hello(Feature.UNORDERED_EXECUTION)
        half = encode_request(Opcode.SET, key=b"key", extras=EXTRAS, opaque=2)
        await raw.send(await waiting_scan(raw, 1, opaque=1), half[:30])
        await wait_all_tasks_blocked()
        service.stop.set()
        await wait_all_tasks_blocked()
        await raw.send(half[30:])  # which is what the scan waits for
        with trio.fail_after(20):
            replies = [await raw.receive(), await raw.receive()]
            assert sorted(reply.opaque for reply in replies) == [1, 2]
            (scan,) = [reply.value for reply in replies if reply.opaque == 1]
            assert (await raw.call(Opcode.RANGE_SCAN_CANCEL, extras=scan)).status == 0
        assert await raw.closed()


@pytest.mark.parametrize("ticks", range(4))
async def test_who_comes_at_that_moment_does_not_keep_it(run_service, ticks: int) -> None:
    """A connection is served, and ended as soon as it is idle, or closed at once."""
    for _ in range(3):
        with trio.fail_after(20):
            async with run_service(drain_timeout=60) as service:
                streams = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(3)]
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                service.stop.set()
                for stream in streams:
                    async with stream:
                        assert await Raw(stream).closed()


# Scans


async def create(raw, **wanted) -> bytes:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(**wanted)))
    assert reply.status == 0
    return reply.value


async def go_on(raw, scan: bytes, items: int) -> int:
    """Continue a scan, and return the status of the last frame."""
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=scan + items.to_bytes(4, "big") + bytes(8)))
    while (reply := await raw.receive()).status == 0:
        pass
    return reply.status


async def store(raw, count: int) -> None:
    for number in range(count):
        assert (await raw.call(Opcode.SET, key=b"%03d" % number, extras=EXTRAS)).status == 0


async def test_a_scan_that_is_open_is_read_to_its_end(run_service) -> None:
    """An SDK takes a connection that ends between two continues for the end of the scan."""
    tuning = Tuning(between_scans=0)
    async with run_service(drain_timeout=60, tuning=tuning) as service, service.connect() as raw, service.connect() as idle:
        await store(raw, 30)
        scan = await create(raw)
        assert await go_on(raw, scan, 10) == Status.SCAN_MORE
        service.stop.set()
        assert await idle.closed()
        assert await go_on(raw, scan, 10) == Status.SCAN_MORE
        assert await go_on(raw, scan, 10) == Status.SCAN_COMPLETE
        assert await raw.closed()


async def test_one_that_continues_the_scan_of_another_is_not_idle(run_service) -> None:
    tuning = Tuning(between_scans=0)
    async with run_service(drain_timeout=60, tuning=tuning) as service, service.connect() as owner, service.connect() as raw:
        await store(raw, 2)
        scan = await create(owner)
        assert await go_on(raw, scan, 1) == Status.SCAN_MORE
        service.stop.set()
        await wait_all_tasks_blocked()
        assert await go_on(raw, scan, 1) == Status.SCAN_COMPLETE
        assert await owner.closed()
        assert await raw.closed()


async def test_the_next_vbucket_can_be_scanned(run_service) -> None:
    """An SDK scans one vbucket after the other: between two of them, no scan is open."""
    clock = Clock()
    tuning = Tuning(clock=clock)
    async with run_service(drain_timeout=60, vbuckets=2, tuning=tuning) as service, service.connect() as raw:
        assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status in (0, Status.NOT_MY_VBUCKET)
        for number in range(20):
            key = b"%d" % number
            await raw.call(Opcode.SET, key=key, extras=EXTRAS, vbucket=vbucket_of(key, 2))
        first, second = (encode_scan_request(ScanRequest()), encode_scan_request(ScanRequest()))
        scan = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=first, vbucket=0)).value
        service.stop.set()
        await wait_all_tasks_blocked()
        assert await go_on(raw, scan, 0) == Status.SCAN_COMPLETE
        await wait_all_tasks_blocked()
        scan = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=second, vbucket=1)).value
        await wait_all_tasks_blocked()
        assert await go_on(raw, scan, 0) == Status.SCAN_COMPLETE
        clock.now += tuning.between_scans
        assert await raw.closed()


@pytest.mark.parametrize("how", ["cancelled by another", "too old", "its bucket deleted"])
async def test_a_scan_that_others_end_keeps_nobody(run_service, how: str) -> None:
    clock = Clock()
    tuning = Tuning(clock=clock, between_scans=0, housekeeping=0.01)
    options = {"drain_timeout": 60, "max_scan_life": 1, "tuning": tuning}
    async with run_service(**options) as service, service.connect() as raw, service.connect() as other:
        await other.call(Opcode.CREATE_BUCKET, key=b"orders")
        await other.call(Opcode.SELECT_BUCKET, key=b"orders")
        await raw.call(Opcode.SELECT_BUCKET, key=b"orders")
        await store(raw, 1)
        scan = await create(raw)
        await create(other)
        service.stop.set()
        await wait_all_tasks_blocked()
        if how == "too old":
            clock.now += 2
        elif how == "cancelled by another":
            assert (await other.call(Opcode.RANGE_SCAN_CANCEL, extras=scan)).status == 0
        else:
            await other.call(Opcode.DELETE_BUCKET, key=b"orders")
        assert await raw.closed()
        clock.now += 2


@pytest.mark.parametrize("drain_timeout", [0, 0.1])
async def test_a_scan_that_is_cut_off_says_so(run_service, drain_timeout: float) -> None:
    tuning = Tuning(last_words=20)
    async with run_service(drain_timeout=drain_timeout, tuning=tuning) as service, service.connect() as raw:
        await store(raw, 30)
        scan = await create(raw)
        assert await go_on(raw, scan, 10) == Status.SCAN_MORE
        service.stop.set()
        with trio.fail_after(20):
            while not service.inside.scans.closing:
                await trio.sleep(0.001)
        assert await go_on(raw, scan, 10) == Status.SCAN_CANCELLED
        reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
        assert reply.status == Status.TEMPORARY_FAILURE
        assert await raw.closed()
