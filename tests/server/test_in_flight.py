"""How much one connection may have carried out at one time: requests together, and long commands beside each other."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from trio_spool.mcbp import Feature, Opcode, ScanRequest, SnapshotRequirements, encode_request, encode_scan_request

EXTRAS = bytes(8)
REQUESTS = 100
SETS = [encode_request(Opcode.SET, key=b"%03d" % number, extras=EXTRAS, opaque=number) for number in range(REQUESTS)]
GETS = [encode_request(Opcode.GET, key=b"%03d" % number, opaque=number) for number in range(REQUESTS)]


@pytest.mark.parametrize("limit", [1, 7, 99, 1000])
async def test_so_many_requests_are_carried_out_together(run_service, limit: int) -> None:
    async with run_service(max_in_flight=limit) as service, service.connect() as raw:
        await raw.send(*SETS)
        assert [(await raw.receive()).opaque for _ in range(REQUESTS)] == list(range(REQUESTS))
        statistics = await raw.stat(b"engine")
        assert int(statistics[b"largest_group"]) <= limit
        assert int(statistics[b"commits"]) >= REQUESTS / limit


@pytest.mark.parametrize("limit", [1, 7, 99, 1000])
async def test_so_many_are_read_together(run_service, limit: int) -> None:
    """A run of GETs is answered in fewer steps; each takes no more than the limit."""
    hooks, most = Hooks(), 0

    async with run_service(engine=hooks.kind(), max_in_flight=limit) as service, service.connect() as raw:
        await raw.send(*SETS)
        for _ in range(REQUESTS):
            assert (await raw.receive()).status == 0
        reader = service.inside.buckets.default.reader
        get_many = reader.get_many

        def counted(keys: list[bytes], room: int) -> object:
            nonlocal most
            most = max(most, len(keys))
            return get_many(keys, room)

        reader.get_many = counted
        await raw.send(*GETS)
        assert [(await raw.receive()).opaque for _ in range(REQUESTS)] == list(range(REQUESTS))
        assert 0 < most <= limit


@pytest.mark.parametrize("limit", [1, 2, 6])
async def test_so_many_long_commands_run_beside_each_other(run_service, until, limit: int) -> None:
    async with run_service(max_jobs=limit, max_scans_per_connection=20) as service, service.connect() as raw:
        await raw.hello(Feature.UNORDERED_EXECUTION)
        observed = (await raw.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
        create = encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(_after_next_mutation(observed)))
        await raw.send(create * 10)
        (connection,) = service.inside.connections
        await until(lambda: len(connection.jobs()) == limit)
        await wait_all_tasks_blocked(0.002)
        assert len(connection.jobs()) == limit
        async with service.connect() as other:
            assert (await other.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        with trio.fail_after(20):
            assert [(await raw.receive()).status for _ in range(10)] == [0] * 10


def _after_next_mutation(observed: bytes) -> ScanRequest:
    uuid, seqno = int.from_bytes(observed[3:11], "big"), int.from_bytes(observed[11:19], "big")
    return ScanRequest(requirements=SnapshotRequirements(vbucket_uuid=uuid, seqno=seqno + 1, timeout=60))
