"""The number of scans is limited. One that waits for a sequence number has no place yet."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from trio_spool.mcbp import Feature, Opcode, ScanRequest, SnapshotRequirements, Status, encode_request, encode_scan_request
from trio_spool.server.shared import Tuning
from trio_spool.server.shared._scans import PATIENCE

EXTRAS = bytes(8)


class Creating:
    """Scans that are created once so many mutations have been made."""

    def __init__(self, raw, mutations: int) -> None:
        self._raw = raw
        self._mutations = mutations

    async def frame(self, opaque: int, timeout: float = 60) -> bytes:
        observed = (await self._raw.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
        uuid, seqno = int.from_bytes(observed[3:11], "big"), int.from_bytes(observed[11:19], "big")
        wanted = ScanRequest(requirements=SnapshotRequirements(vbucket_uuid=uuid, seqno=seqno + self._mutations, timeout=timeout))
        return encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(wanted), opaque=opaque)

    async def go_on(self) -> None:
        for _ in range(self._mutations):
            assert (await self._raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0


async def create(raw, opaque: int) -> int:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()), opaque=opaque)
    assert reply.opaque == opaque
    return reply.status


@pytest.mark.parametrize("options", [{"max_scans": 2}, {"max_scans_per_connection": 2}], ids=["in all", "of a connection"])
async def test_each_has_a_place(run_service, options) -> None:
    async with run_service(**options) as service, service.connect() as raw, service.connect() as watcher:
        assert (await watcher.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        creating = Creating(watcher, 1)
        await raw.hello(Feature.UNORDERED_EXECUTION)
        await raw.send(await creating.frame(1), await creating.frame(2))
        await wait_all_tasks_blocked()
        with trio.fail_after(20):
            await creating.go_on()
            created = [await raw.receive() for _ in range(2)]
            assert sorted((reply.opaque, reply.status) for reply in created) == [(1, 0), (2, 0)]
            assert await create(raw, 5) == Status.TEMPORARY_FAILURE
            assert await create(watcher, 4) == (Status.TEMPORARY_FAILURE if "max_scans" in options else 0)
            # Each place is free again when its scan has ended.
            assert (await raw.call(Opcode.RANGE_SCAN_CANCEL, extras=created[0].value)).status == 0
            assert await create(raw, 6) == 0
            assert await create(raw, 7) == Status.TEMPORARY_FAILURE


async def test_those_that_wait_for_a_sequence_number_keep_nobody(run_service) -> None:
    async with run_service(max_scans=2) as service, service.connect() as raw, service.connect() as watcher:
        assert (await watcher.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        creating = Creating(watcher, 1)
        await raw.hello(Feature.UNORDERED_EXECUTION)
        await raw.send(*[await creating.frame(opaque) for opaque in range(4)])
        await wait_all_tasks_blocked()
        with trio.fail_after(20):
            scans = await watcher.stat(b"range-scans")
            assert (scans[b"open"], scans[b"waiting"]) == (b"0", b"4")
            waiting = json.loads(scans[b"waiting:1"])
            assert (waiting["state"], waiting["connection"], waiting["seqno"], waiting["reached"]) == ("waiting", 1, 2, 1)
            assert [await create(watcher, opaque) for opaque in range(3)] == [0, 0, Status.TEMPORARY_FAILURE]
            # When their time comes, they need a place like all others.
            await creating.go_on()
            assert {(await raw.receive()).status for _ in range(4)} == {Status.TEMPORARY_FAILURE}
            assert (await watcher.stat(b"range-scans"))[b"waiting"] == b"0"


async def test_one_that_waits_ends_with_its_connection_or_its_time(run_service) -> None:
    async with run_service() as service, service.connect() as watcher:
        assert (await watcher.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        async with service.connect() as raw:
            await raw.send(await Creating(watcher, 1).frame(1))
            with trio.fail_after(20):
                while not len(service.inside.waits):
                    await trio.sleep(0.001)
        with trio.fail_after(20):
            while len(service.inside.waits):
                await trio.sleep(0.001)
            async with service.connect() as raw:
                await raw.send(await Creating(watcher, 1).frame(1, timeout=0.05))
                assert (await raw.receive()).status == Status.TEMPORARY_FAILURE
        assert not len(service.inside.waits)


async def test_each_is_woken_at_its_number(run_service) -> None:
    async with run_service() as service, service.connect() as watcher:
        assert (await watcher.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        async with service.connect() as far, service.connect() as near:
            await far.send(await Creating(watcher, 2).frame(2))
            await near.send(await Creating(watcher, 1).frame(1))
            with trio.fail_after(20):
                while len(service.inside.waits) < 2:
                    await trio.sleep(0.001)
                await Creating(watcher, 1).go_on()
                assert (await near.receive()).status == 0
                assert len(service.inside.waits) == 1
                await Creating(watcher, 1).go_on()
                assert (await far.receive()).status == 0


async def test_one_that_is_not_created_gives_its_place_back(run_service) -> None:
    async with run_service(max_scans=1) as service, service.connect() as raw:
        for opaque in range(3):
            assert await create(raw, opaque) == Status.NOT_FOUND  # nothing is stored
        assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        assert await create(raw, 9) == 0


async def test_a_client_that_leaves_gives_its_places_back(run_service) -> None:
    async with run_service(max_scans=1) as service, service.connect() as watcher:
        assert (await watcher.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        async with service.connect() as raw:
            assert await create(raw, 1) == 0
            assert await create(watcher, 2) == Status.TEMPORARY_FAILURE
        with trio.fail_after(20):
            while await create(watcher, 3) == Status.TEMPORARY_FAILURE:
                pass


async def test_one_that_was_forgotten_gives_way(run_service) -> None:
    clock = Clock()
    async with (
        run_service(max_scans=3, tuning=Tuning(clock=clock)) as service,
        service.connect() as raw,
        service.connect() as other,
    ):
        for key in b"a", b"b":
            assert (await raw.call(Opcode.SET, key=key, extras=EXTRAS)).status == 0
        begun, older, newer = [
            (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value for _ in range(3)
        ]
        one = begun + (1).to_bytes(4, "big") + bytes(8)
        assert (await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=one)).status == Status.SCAN_MORE
        clock.now += PATIENCE - 1
        assert await create(other, 1) == Status.TEMPORARY_FAILURE
        clock.now += 1
        assert [await create(other, opaque) for opaque in range(3)] == [0, 0, Status.TEMPORARY_FAILURE]
        # The one that its client reads goes on, however long it takes.
        assert (await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=one)).status == Status.SCAN_COMPLETE
        for scan in older, newer:
            assert (await raw.call(Opcode.RANGE_SCAN_CONTINUE, extras=scan + bytes(12))).status == Status.NOT_FOUND
