"""Scans whose snapshot the engine ends, since it keeps too much on disk."""

from __future__ import annotations

import attrs
import pytest
import structlog

from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)
SCAN = encode_scan_request(ScanRequest())
COUNT = 200


async def overwrite(raw, rounds: int = 1) -> None:
    for _ in range(rounds):
        frames = [encode_request(Opcode.SETQ, key=b"%04d" % n, value=bytes(1000), extras=EXTRAS) for n in range(COUNT)]
        await raw.send(*frames, encode_request(Opcode.NOOP))
        assert (await raw.receive()).opcode == Opcode.NOOP


async def create(raw) -> bytes:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=SCAN)
    assert reply.status == 0
    return reply.value


async def status_of_continue(raw, scan: bytes, items: int = 0) -> int:
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(scan, items, 0, 0)))
    while (reply := await raw.receive()).status == 0:
        pass
    return reply.status


@pytest.fixture
def options(tmp_path):
    return {"engine": "lmdb", "data_dir": tmp_path / "data", "fsync": "no", "max_held_size": 1, "max_scans": 2}


async def test_its_client_is_told(run_service, options) -> None:
    async with run_service(**options, tuning=Tuning(housekeeping=1000)) as service, service.connect() as raw:
        await overwrite(raw)
        scan = await create(raw)
        assert await status_of_continue(raw, scan, items=1) == Status.SCAN_MORE
        await overwrite(raw, 10)
        assert await status_of_continue(raw, scan) == Status.SCAN_CANCELLED
        assert (await raw.stat(b"engine"))[b"snapshots_ended_for_space"] == b"1"
        assert await status_of_continue(raw, await create(raw)) == Status.SCAN_COMPLETE


async def test_it_gives_its_place_back(run_service, options, until) -> None:
    tuning = Tuning(housekeeping=0.01)
    with structlog.testing.capture_logs() as logs:
        async with run_service(**options, tuning=tuning) as service, service.connect() as raw:
            await lose_two(service, raw, until)
    line = next(line for line in logs if "kept too much on disk" in line["event"])
    assert (line["log_level"], line["bucket"]) == ("warning", "default")
    assert line["ended"] in (1, 2)
    assert "--max-held-size" in line["hint"]


async def lose_two(service, raw, until) -> None:
    await overwrite(raw)
    scans = [await create(raw) for _ in range(2)]
    assert (await raw.call(Opcode.RANGE_SCAN_CREATE, value=SCAN)).status == Status.TEMPORARY_FAILURE
    await overwrite(raw, 10)
    await until(lambda: service.inside.scans.lost == 2)
    assert [await status_of_continue(raw, scan) for scan in scans] == [Status.NOT_FOUND] * 2
    assert (await raw.stat(b"range-scans"))[b"lost"] == b"2"
    for _ in range(2):
        await create(raw)


async def test_the_scan_of_another_bucket_goes_on(run_service, options) -> None:
    """Each bucket has its own file."""
    async with run_service(**options) as service, service.connect() as raw, service.connect() as other:
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"two")).status == 0
        assert (await other.call(Opcode.SELECT_BUCKET, key=b"two")).status == 0
        await overwrite(other)
        scan = await create(other)
        await overwrite(raw, 12)
        assert await status_of_continue(other, scan) == Status.SCAN_COMPLETE


async def test_the_limit_changes_while_the_service_runs(run_service, options) -> None:
    async with run_service(**options) as service, service.connect() as raw:
        await overwrite(raw)
        service.inside.change(attrs.evolve(service.inside.settings, max_held_size=1 << 30))
        scan = await create(raw)
        await overwrite(raw, 10)
        assert (await raw.stat(b"engine"))[b"max_held_bytes"] == b"%d" % (1 << 30)
        assert await status_of_continue(raw, scan) == Status.SCAN_COMPLETE
