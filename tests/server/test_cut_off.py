"""Continues that are cut off before their end: the scan ends, whoever continued it, since nobody knows what the client has of it."""

from __future__ import annotations

import pytest
import trio

from trio_spool.mcbp import CONTINUE, Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request

# More than a window and what the system buffers between two sockets, so that a continue can't end before it is read.
COUNT, SIZE = 20_000, 1000
FINAL = (Status.SCAN_COMPLETE, Status.SCAN_MORE, Status.SCAN_CANCELLED, Status.NOT_FOUND, Status.BUSY)


@pytest.fixture
async def identity(raw) -> bytes:
    """A scan of much, which belongs to `raw`."""
    for start in range(0, COUNT, 1000):
        keys = [b"k%06d" % number for number in range(start, start + 1000)]
        await raw.send(*(encode_request(Opcode.SETQ, key=key, value=bytes(SIZE), extras=bytes(8)) for key in keys))
        await raw.call(Opcode.NOOP)
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
    assert reply.status == 0
    return reply.value


def continued(identity: bytes) -> bytes:
    return encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 0, 0))


async def final_status(raw) -> int:
    while (status := (await raw.receive()).status) not in FINAL:
        pass
    return status


async def wait_stalled(watcher) -> None:
    """Wait until a continue waits for its reader."""
    with trio.fail_after(30):
        while True:
            if [task["state"] for task in await watcher.running() if task["command"] == "range_scan_continue"] == ["waiting"]:
                return


@pytest.mark.parametrize("features", [(), (Feature.UNORDERED_EXECUTION,)], ids=["ordered", "unordered"])
@pytest.mark.parametrize("frames", [0, 1, 5])
async def test_a_continue_of_another_connection_that_is_cut_off_ends_the_scan(service, raw, identity, features, frames) -> None:
    async with service.connect() as other:
        if features:
            await other.hello(*features)
        await other.send(continued(identity))
        await wait_stalled(raw)
        for _ in range(frames):
            assert (await other.receive()).status == Status.OK
    # Until the service has noticed that the other one has left, its continue is running.
    status = Status.BUSY
    with trio.fail_after(30):
        while status == Status.BUSY:
            await raw.send(continued(identity))
            status = await final_status(raw)
    assert status == Status.NOT_FOUND
    assert (await raw.stat(b"range-scans"))[b"open"] == b"0"


async def test_the_owner_leaves_while_another_connection_continues(service, raw, identity) -> None:
    async with service.connect() as other:
        await other.send(continued(identity))
        async with service.connect() as watcher:
            await wait_stalled(watcher)
            await raw.stream.aclose()
            with trio.fail_after(30):
                while (await watcher.stat(b"range-scans"))[b"open"] != b"0":
                    pass
            assert (await watcher.stat())[b"curr_connections"] == b"2"
        with trio.fail_after(30):
            assert await final_status(other) == Status.SCAN_CANCELLED
            assert (await other.call(Opcode.NOOP)).status == 0
