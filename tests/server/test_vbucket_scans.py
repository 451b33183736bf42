"""Scans of one vbucket: they return the keys that clients take there, and no others."""

from __future__ import annotations

import zlib

import pytest

from trio_spool.mcbp import ALL_VBUCKETS, CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request, unpack_scan
from trio_spool.server.shared import Tuning

KEYS = [b"key:%04d" % number for number in range(500)]


def vbucket(key: bytes, count: int) -> int:
    """Return the vbucket of a key, as Couchbase's clients calculate it."""
    return ((zlib.crc32(key) >> 16) & 0x7FFF) % count


async def scanned(raw, number: int) -> list[bytes]:
    """Return the keys of a scan; none if there is nothing to scan."""
    wanted = encode_scan_request(ScanRequest(keys_only=True))
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=wanted, vbucket=number)
    if reply.status == Status.NOT_FOUND:
        return []
    assert reply.status == 0
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(reply.value, 0, 0, 0)))
    keys = []
    while True:
        part = await raw.receive()
        keys += [document.key for document in unpack_scan(part.value, True)] if part.value else []
        if part.status == Status.SCAN_COMPLETE:
            return keys
        assert part.status == Status.OK


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1024])
async def test_each_has_the_keys_that_belong_to_it(run_service, count: int) -> None:
    async with run_service(vbuckets=count) as service, service.connect() as raw:
        for key in KEYS:
            await raw.send(encode_request(Opcode.SETQ, key=key, extras=bytes(8), vbucket=vbucket(key, count)))
        await raw.call(Opcode.NOOP)
        numbers = sorted({vbucket(key, count) for key in KEYS})[:10]
        for number in numbers:
            assert await scanned(raw, number) == [key for key in KEYS if vbucket(key, count) == number]
        assert await scanned(raw, ALL_VBUCKETS) == KEYS
        empty = next((number for number in range(count) if all(vbucket(key, count) != number for key in KEYS)), None)
        assert empty is None or await scanned(raw, empty) == []


async def test_a_time_limit_leaves_time_for_one_document(run_service) -> None:
    """Most of what is read belongs to other vbuckets. A continue that returned nothing would be repeated for ever."""
    now = iter(range(1_000_000))
    tuning = Tuning(clock=lambda: next(now), housekeeping=1e6)  # each look is a second later
    async with run_service(vbuckets=1024, tuning=tuning) as service, service.connect() as raw:
        keys = [b"key:%04d" % number for number in range(3000)]
        number = vbucket(keys[-1], 1024)
        keys = [key for key in keys[:-1] if vbucket(key, 1024) != number] + keys[-1:]
        for key in keys:
            await raw.send(encode_request(Opcode.SETQ, key=key, extras=bytes(8), vbucket=vbucket(key, 1024)))
        await raw.call(Opcode.NOOP)
        wanted = encode_scan_request(ScanRequest(keys_only=True, start=b""))
        identity = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=wanted, vbucket=number)).value
        await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 1, 0)))
        found = []
        while (part := await raw.receive()).status == Status.OK:
            found += unpack_scan(part.value, True)
        found += unpack_scan(part.value, True)
        assert [document.key for document in found] == keys[-1:]
