"""A task that reads requests beside the one that sends the replies: `Sender.offered` and `Receiver`."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio.testing import assert_checkpoints, memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolLimits, open_sender
from trio_spool._core import Receiver


async def test_offered_returns_when_the_stream_took_everything(socket_pair) -> None:
    left, right = socket_pair()
    async with left, right, open_sender(left) as sender:
        await wait_all_tasks_blocked()
        sender.send_nowait(b"reply")
        await sender.offered()
        assert sender.statistics().bytes == 5
        await sender.offered()  # nothing is queued


async def test_offered_does_not_wait_for_a_peer_that_does_not_read(socket_pair) -> None:
    left, right = socket_pair()
    async with left, right:
        async with open_sender(left, limits=SpoolLimits(window=8 << 20)) as sender:
            await wait_all_tasks_blocked()
            sender.send_nowait(bytes(4 << 20))
            await sender.offered()
            assert 0 < sender.statistics().bytes < 4 << 20
            await sender.offered()
            right.socket.close()
            await wait_all_tasks_blocked()
            await sender.offered()  # nor for one that is gone


async def test_offered_does_not_wait_for_a_sender_that_is_cancelled(tcp_pair) -> None:
    left, right = tcp_pair()
    async with left, right, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_sender(left, limits=SpoolLimits(batch=1)) as sender:
                await wait_all_tasks_blocked()
                for _ in range(1000):  # as many writes, each in a pass of its own
                    sender.send_nowait(b"a")
                nursery.start_soon(sender.offered)
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert sender.statistics().bytes < 1000
        with trio.fail_after(10):
            await sender.offered()


async def test_offered_does_not_wait_for_a_spool(socket_pair) -> None:
    left, right = socket_pair()
    async with left, right, trio.open_nursery() as nursery:
        async with open_sender(left) as sender:
            nursery.start_soon(sender.send_spool, [b"some", b"thing"])
            await wait_all_tasks_blocked()
            sender.send_nowait(b"!")
            await sender.offered()
        assert await Receiver(right).receive_some(100) == b"something!"


@pytest.fixture(params=[0, float("inf")], ids=["slow peers", "prompt peers"])
def soon(request) -> float:
    """Let no peer, or every peer, be one that sends its next request soon."""
    return request.param


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_receive_some(kind: str, nursery: trio.Nursery, soon: float, socket_pair) -> None:
    left, right = socket_pair() if kind == "socket" else memory_stream_pair()
    receiver = Receiver(right, soon)
    async with left:
        async with right:
            nursery.start_soon(left.send_all, b"abc")
            assert await receiver.receive_some(2) == b"ab"
            with assert_checkpoints():
                assert await receiver.receive_some(2) == b"c"
            await left.send_eof()
            assert await receiver.receive_some(2) == b""
        with pytest.raises(trio.ClosedResourceError):
            await receiver.receive_some(2)


async def test_receive_some_waits_for_a_peer_that_was_prompt_once(nursery: trio.Nursery, soon: float, socket_pair) -> None:
    left, right = socket_pair()
    receiver = Receiver(right, soon)
    async with left, right:
        for data in (b"a", b"b", b"c"):
            received = []

            async def receive(received: list[bytes] = received) -> None:
                received.append(await receiver.receive_some(10))

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert received == []
            await left.send_all(data)
            while not received:
                await trio.lowlevel.checkpoint()
            assert received == [data]


async def test_receive_some_cancelled_takes_nothing(soon: float, socket_pair) -> None:
    left, right = socket_pair()
    receiver = Receiver(right, soon)
    async with left, right:
        await left.send_all(b"abc")
        assert await receiver.receive_some(1) == b"a"
        with trio.CancelScope() as scope:
            scope.cancel()
            await receiver.receive_some(2)
        assert scope.cancelled_caught
        assert await receiver.receive_some(3) == b"bc"


async def test_receive_some_when_it_is_closed_meanwhile(nursery: trio.Nursery, soon: float, socket_pair) -> None:
    left, right = socket_pair()
    receiver = Receiver(right, soon)
    async with left:
        await left.send_all(b"a")
        assert await receiver.receive_some(1) == b"a"
        await right.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await receiver.receive_some(1)


async def test_receive_some_on_a_broken_connection() -> None:
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    left = await trio.open_tcp_stream("127.0.0.1", listener[0].socket.getsockname()[1])
    right = await listener[0].accept()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left.socket.close()
    with pytest.raises(trio.BrokenResourceError):
        await Receiver(right).receive_some(2)
    for stream in (*listener, right):
        await stream.aclose()
