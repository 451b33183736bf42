"""A task that reads requests beside the one that sends the replies: `Sender.offered` and `receive_some`."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolLimits, open_sender
from trio_spool._core import receive_some


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = socket.socketpair()
    return tuple(trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (left, right))


async def test_offered_returns_when_the_stream_took_everything() -> None:
    left, right = await socket_pair()
    async with left, right, open_sender(left) as sender:
        await wait_all_tasks_blocked()
        sender.send_nowait(b"reply")
        await sender.offered()
        assert sender.statistics().bytes == 5
        await sender.offered()  # nothing is queued


async def test_offered_does_not_wait_for_a_peer_that_does_not_read() -> None:
    left, right = await socket_pair()
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


async def test_offered_does_not_wait_for_a_spool() -> None:
    left, right = await socket_pair()
    async with left, right, trio.open_nursery() as nursery:
        async with open_sender(left) as sender:
            nursery.start_soon(sender.send_spool, [b"some", b"thing"])
            await wait_all_tasks_blocked()
            sender.send_nowait(b"!")
            await sender.offered()
        assert await receive_some(right, 100) == b"something!"


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_receive_some(kind: str, nursery: trio.Nursery) -> None:
    left, right = await socket_pair() if kind == "socket" else memory_stream_pair()
    async with left:
        async with right:
            nursery.start_soon(left.send_all, b"abc")
            assert await receive_some(right, 2) == b"ab"
            assert await receive_some(right, 2) == b"c"
            await left.send_eof()
            assert await receive_some(right, 2) == b""
        with pytest.raises(trio.ClosedResourceError):
            await receive_some(right, 2)


async def test_receive_some_cancelled_takes_nothing() -> None:
    left, right = await socket_pair()
    async with left, right:
        with trio.CancelScope() as scope:
            scope.cancel()
            await receive_some(right, 2)
        assert scope.cancelled_caught
        await left.send_all(b"abc")
        assert await receive_some(right, 3) == b"abc"


async def test_receive_some_on_a_broken_connection() -> None:
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    left = await trio.open_tcp_stream("127.0.0.1", listener[0].socket.getsockname()[1])
    right = await listener[0].accept()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left.socket.close()
    with pytest.raises(trio.BrokenResourceError):
        await receive_some(right, 2)
    for stream in (*listener, right):
        await stream.aclose()
