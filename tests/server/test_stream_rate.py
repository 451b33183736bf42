"""The most rate of files and scans: all of them together, at its pace, and nobody else."""

from __future__ import annotations

import json

import attrs
import pytest
import trio
import trio.testing

from trio_spool.mcbp import (
    CONTINUE,
    Feature,
    FragmentRequest,
    Opcode,
    ScanRequest,
    Status,
    encode_fragment_request,
    encode_request,
    encode_scan_request,
)
from trio_spool.server.shared import Throttle

EXTRAS = bytes(8)


# The throttle


async def test_pieces_pass_one_after_the_other(autojump_clock) -> None:
    throttle = Throttle(lambda: 1000)
    began = trio.current_time()
    passed = []

    async def send(size: int) -> None:
        await throttle.wait(size)
        passed.append((size, trio.current_time() - began))

    async with trio.open_nursery() as nursery:
        for size in (500, 2000, 1, 0):
            nursery.start_soon(send, size)
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(size for size, _ in passed) == [0, 1, 500, 2000]
    assert dict(passed) == pytest.approx({500: 0.0, 2000: 0.5, 1: 2.5, 0: 2.501})
    await trio.sleep(100)  # nothing is saved up
    began, passed[:] = trio.current_time(), []
    for _ in range(3):
        await send(1000)
    assert [when for _, when in passed] == pytest.approx([0.0, 1.0, 2.0])


@pytest.mark.parametrize("rate", [1000, 0])
async def test_another_rate_holds_for_those_that_wait_as_well(autojump_clock, rate: int) -> None:
    """Or a rate that was too low by mistake could not be raised without a restart."""
    rates = [1]
    throttle = Throttle(lambda: rates[-1])
    await throttle.wait(100_000)  # the next piece would wait for a day
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(throttle.wait, 1)
        await trio.sleep(10)
        rates.append(rate)
    assert trio.current_time() - began < 120


async def test_who_leaves_counts_as_sent(autojump_clock) -> None:
    throttle = Throttle(lambda: 1000)
    await throttle.wait(1000)
    with trio.move_on_after(0.5):
        await throttle.wait(1000)
    began = trio.current_time()
    await throttle.wait(1000)
    assert trio.current_time() - began == pytest.approx(1.5)
    assert throttle.waited == pytest.approx(2.0)


async def test_without_a_limit_nobody_waits(autojump_clock) -> None:
    throttle = Throttle(lambda: 0)
    began = trio.current_time()
    for _ in range(10):
        await throttle.wait(10**12)
    assert (trio.current_time() - began, throttle.waited, throttle.on) == (0, 0, False)


# On sockets. At 4 MB a second, 2 MB take half a second; without a limit some ten milliseconds.

RATE, SIZE = 4_000_000, 2_000_000
LEAST = 0.3


@pytest.fixture
async def limited(run_service, tmp_path):
    async with run_service(data_dir=tmp_path / "data", fsync="no", max_stream_rate=RATE) as service, service.connect() as raw:
        for number in range(200):
            await raw.send(encode_request(Opcode.SETQ, key=b"%06d" % number, value=bytes(SIZE // 200), extras=EXTRAS))
        await raw.call(Opcode.NOOP)
        yield service


async def scan(raw, *, items: int = 0) -> int:
    identity = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value
    size, status = 0, Status.SCAN_MORE
    while status == Status.SCAN_MORE:
        await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, items, 0, 0)))
        status = Status.OK
        while status == Status.OK:
            reply = await raw.receive()
            status = Status(reply.status)
            size += len(reply.value)
    assert status == Status.SCAN_COMPLETE
    return size


async def file(raw) -> int:
    manifest = json.loads((await raw.call(Opcode.PREPARE_SNAPSHOT)).value)
    length = int(manifest["files"][0]["size"])
    wanted = encode_fragment_request(FragmentRequest(id=1, offset=0, length=length))
    await raw.send(
        encode_request(Opcode.GET_FILE_FRAGMENT, key=manifest["uuid"].encode(), value=wanted, opaque=1),
        encode_request(Opcode.NOOP, opaque=2),
    )
    reply = await raw.receive()
    assert (reply.opaque, reply.status, len(reply.value)) == (1, 0, length)
    assert (await raw.receive()).opaque == 2
    return length


@pytest.mark.parametrize("unordered", [False, True], ids=["ordered", "unordered"])
@pytest.mark.parametrize("kind", ["scan", "scan of small answers", "file"])
async def test_it_is_kept_to(limited, kind: str, unordered: bool) -> None:
    async with limited.connect() as raw, limited.connect() as other:
        if unordered:
            await raw.hello(Feature.UNORDERED_EXECUTION)
        began = trio.current_time()
        size = 0
        async with trio.open_nursery() as nursery:

            async def stream() -> None:
                nonlocal size
                size = await (file(raw) if kind == "file" else scan(raw, items=5 if "small" in kind else 0))
                nursery.cancel_scope.cancel()

            nursery.start_soon(stream)
            while True:  # others are answered meanwhile
                assert (await other.call(Opcode.GET, key=b"000000")).status == 0
                await trio.sleep(0.01)
        assert size > SIZE
        assert trio.current_time() - began > LEAST
        assert limited.inside.limiter.borrowed_tokens == 0


async def test_it_is_shared(limited) -> None:
    async with trio.open_nursery() as nursery:
        began = trio.current_time()

        async def one() -> None:
            async with limited.connect() as raw:
                assert await scan(raw) > SIZE

        for _ in range(3):
            nursery.start_soon(one)
    assert trio.current_time() - began > 3 * LEAST


async def test_who_waits_holds_no_worker_and_can_leave(limited, until) -> None:
    shared = limited.inside
    shared.change(attrs.evolve(shared.settings, max_stream_rate=1000))
    async with limited.connect() as raw:
        identity = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))).value
        await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 0, 0)))
        await until(lambda: shared.throttle.waited > 0 and not shared.limiter.borrowed_tokens)
    await until(lambda: len(shared.connections) <= 1 and not len(list(shared.scans)))


async def test_a_file_that_fails_half_way_ends_its_connection(limited, until) -> None:
    """Nothing that comes after it may be taken for the rest."""
    async with limited.connect() as raw:
        manifest = json.loads((await raw.call(Opcode.PREPARE_SNAPSHOT)).value)
        length = int(manifest["files"][0]["size"])
        (snapshot,) = limited.inside.snapshots
        wanted = encode_fragment_request(FragmentRequest(id=1, offset=0, length=length))
        with open(snapshot.directory / manifest["files"][0]["path"], "r+b") as cut:
            cut.truncate(length // 2)
        await raw.send(
            encode_request(Opcode.GET_FILE_FRAGMENT, key=manifest["uuid"].encode(), value=wanted), encode_request(Opcode.NOOP)
        )
        received = 0
        with pytest.raises(trio.BrokenResourceError):
            while data := await raw.stream.receive_some(65536):
                received += len(data)
        assert received <= length // 2 + 1000
