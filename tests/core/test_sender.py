"""open_sender: the task that owns a stream's send side."""

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolLimits, SpoolWriter, open_sender

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401

SMALL = SpoolLimits(window=1000, batch=300)


class Boom(Exception):
    pass


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    async for data in stream:
        received += data
    return bytes(received)


@pytest.mark.parametrize("kind", ["socket", "lockstep", "memory"])
async def test_sends_in_order(kind: str, socket_pair) -> None:
    if kind == "socket":
        left, right = socket_pair(4096)
    else:
        left, right = lockstep_stream_pair() if kind == "lockstep" else memory_stream_pair()
    parts = [b"%d," % number for number in range(5000)]

    async def send() -> None:
        async with left, open_sender(left, limits=SMALL) as sender:
            for part in parts:
                await sender.send(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await read_all(right) == b"".join(parts)


@pytest.mark.parametrize("kind", ["socket", "lockstep"])
async def test_what_one_call_sends_is_contiguous(kind: str, socket_pair) -> None:
    left, right = socket_pair(4096) if kind == "socket" else lockstep_stream_pair()

    def generate(letter: bytes):
        for _ in range(300):
            yield letter * 10

    def write(letter: bytes, out: SpoolWriter) -> None:
        for fragment in generate(letter):
            out.write(fragment)

    async def task(sender, letter: bytes) -> None:
        await sender.send(letter * 3000)
        await sender.send_spool(generate(letter))
        await sender.send_spool(lambda out: write(letter, out))

    async def send() -> None:
        async with left, open_sender(left, limits=SMALL) as sender, trio.open_nursery() as nursery:
            for letter in (b"a", b"b", b"c", b"d"):
                nursery.start_soon(task, sender, letter)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        data = await read_all(right)
    assert len(data) == 4 * 9000
    pieces = [data[start : start + 3000] for start in range(0, len(data), 3000)]
    assert all(len(set(piece)) == 1 for piece in pieces)


async def test_send_waits_for_room_and_send_nowait_does_not() -> None:
    left, right = lockstep_stream_pair()
    async with open_sender(left, limits=SMALL) as sender:
        while True:
            try:
                sender.send_nowait(b"x" * 100)
            except trio.WouldBlock:
                break
        assert sender.statistics().queued >= SMALL.window
        assert sender.statistics().high_water < SMALL.window + 100
        sent = trio.Event()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await sender.send(b"last")
                sent.set()

            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert not sent.is_set()
            received = b""
            while not received.endswith(b"last"):
                received += await right.receive_some(100)


@pytest.mark.parametrize("low_water", [0, 400, 999])
async def test_waiting_sends_go_on_at_the_low_water_mark(low_water: int) -> None:
    left, right = lockstep_stream_pair()
    with trio.fail_after(10):
        async with left, open_sender(left, limits=SpoolLimits(window=1000, batch=100, low_water=low_water)) as sender:
            sender.send_nowait(b"x" * 1000)
            waiting = trio.Event()
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    waiting.set()
                    await sender.send(b"last")

                nursery.start_soon(send)
                await waiting.wait()
                received = b""
                while not received.endswith(b"last"):
                    received += await right.receive_some(100)


async def test_cancelled_send_queues_nothing() -> None:
    left, right = lockstep_stream_pair()
    async with open_sender(left, limits=SMALL) as sender:
        await sender.send(b"x" * 1000)
        await sender.send(b"y" * 1000) if sender.statistics().queued < 1000 else None
        with trio.move_on_after(0.01) as scope:
            await sender.send(b"never")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.drain)
            received = await right.receive_some(5000)
            while len(received) < 1000:
                received += await right.receive_some(5000)
    assert b"never" not in received


async def test_spool_errors_come_after_their_bytes_and_leave_the_sender_usable(socket_pair) -> None:
    left, right = socket_pair()

    def generate():
        yield b"before"
        raise Boom

    async with left, open_sender(left) as sender:
        with pytest.raises(Boom):
            await sender.send_spool(generate())
        await sender.send(b" after")
        await sender.drain()
        assert await right.receive_some(100) == b"before after"


async def test_drain_waits_until_all_is_accepted() -> None:
    left, right = lockstep_stream_pair()
    async with open_sender(left) as sender:
        await sender.drain()
        await sender.send(b"data")
        drained = trio.Event()

        async def drain() -> None:
            await sender.drain()
            drained.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            assert not drained.is_set()
            assert await right.receive_some(100) == b"data"


async def test_a_slow_reader_that_reads_is_left_alone(mock_clock, socket_pair) -> None:
    left, right = socket_pair(4096)
    received = 0

    async def send() -> None:
        async with left, open_sender(left, send_timeout=0.2) as sender:
            await sender.send(b"x" * 60_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while data := await right.receive_some(3000):
            received += len(data)
            await wait_all_tasks_blocked()
            mock_clock.jump(0.03)
    assert received == 60_000


async def test_cancelled_spool_stops_its_producer_and_frees_the_sender() -> None:
    left, right = lockstep_stream_pair()
    closed = []

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            closed.append(True)

    async with open_sender(left, limits=SMALL) as sender, trio.open_nursery() as nursery:
        with trio.move_on_after(0.05) as scope:
            await sender.send_spool(generate())
        assert scope.cancelled_caught
        assert closed == [True]

        async def read() -> None:
            received = b""
            while not received.endswith(b"end"):
                received += await right.receive_some(1000)
            assert len(received) < 5000

        nursery.start_soon(read)
        await sender.send(b"end")


async def test_cancelled_before_its_turn() -> None:
    left, right = lockstep_stream_pair()
    started = []

    def generate():
        started.append(True)
        yield b"never"

    async with open_sender(left, limits=SMALL) as sender:
        await sender.send(b"first")
        with trio.move_on_after(0.02):
            await sender.send_spool(generate())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.drain)
            assert await right.receive_some(100) == b"first"
    assert started == []


async def test_after_the_block_it_is_closed() -> None:
    left, _right = memory_stream_pair()
    async with open_sender(left) as sender:
        await sender.send(b"x")
    for function, argument in ((sender.send, b"y"), (sender.send_spool, [b"y"])):
        with pytest.raises(trio.ClosedResourceError):
            await function(argument)
    with pytest.raises(trio.ClosedResourceError):
        sender.send_nowait(b"y")
    with pytest.raises(trio.ClosedResourceError):
        await sender.drain()


async def test_leaving_by_an_exception_does_not_wait() -> None:
    left, _right = lockstep_stream_pair()
    with pytest.raises(Boom):
        async with open_sender(left) as sender:
            await sender.send(b"stuck")
            await wait_all_tasks_blocked()
            raise Boom
    with pytest.raises(trio.ClosedResourceError):
        await sender.send(b"more")


async def test_inner_cancellation_lets_what_is_queued_go_out(socket_pair) -> None:
    left, right = socket_pair(4096)

    async def serve() -> None:
        async with left, open_sender(left) as sender:
            with trio.CancelScope() as inner:
                await sender.send(b"x" * 100_000)
                inner.cancel()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        assert len(await read_all(right)) == 100_000


async def test_cancellation_from_outside_ends_it() -> None:
    left, _right = lockstep_stream_pair()
    with trio.move_on_after(0.02) as scope:
        async with open_sender(left) as sender:
            await sender.send(b"stuck")
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_not_a_producer() -> None:
    left, _right = memory_stream_pair()
    async with open_sender(left) as sender:
        with pytest.raises(TypeError):
            await sender.send_spool(5)


async def test_statistics(socket_pair) -> None:
    left, right = socket_pair()
    async with left, open_sender(left) as sender:
        await sender.send(b"ab")
        await sender.send_spool([b"c", b"d"])
        inside = trio.Event()

        def generate():
            yield b"e"
            trio.from_thread.run_sync(lambda: statistics.append(sender.statistics()))

        statistics: list = []
        await sender.send_spool(generate())
        assert not inside.is_set()
        final = sender.statistics()
    assert statistics[0].turns == 2
    assert final.bytes == 5
    assert final.fragments == 4
    assert final.turns == 2
    assert final.queued == 0
    assert final.spools.bytes == 3
    assert await right.receive_some(10) == b"abcde"
