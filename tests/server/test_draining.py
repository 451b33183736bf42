"""How a service stops: what was asked is answered, however it arrives, and nobody who comes late is left waiting."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.service import Raw
from trio_spool.mcbp import Feature, Opcode, ScanRequest, SnapshotRequirements, encode_request, encode_scan_request

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
    async with run_service(drain_timeout=60) as service, service.connect() as raw:
        await raw.hello(Feature.UNORDERED_EXECUTION)
        half = encode_request(Opcode.SET, key=b"key", extras=EXTRAS, opaque=2)
        await raw.send(await waiting_scan(raw, 1, opaque=1), half[:30])
        await wait_all_tasks_blocked()
        service.stop.set()
        await wait_all_tasks_blocked()
        await raw.send(half[30:])  # which is what the scan waits for
        with trio.fail_after(20):
            assert sorted([(await raw.receive()).opaque, (await raw.receive()).opaque]) == [1, 2]
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
