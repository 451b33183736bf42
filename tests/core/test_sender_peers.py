"""Peers over real connections: slow ones, stalled ones, and those that leave while nothing is being sent."""

from __future__ import annotations

import math
import os
import queue
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool import Sender, SpoolBrokenError, SpoolLimits, open_sender
from trio_spool._core import progress

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a peer has taken")
# More than the largest send buffer of Linux holds, 4 MB.
MUCH = bytes(12_000_000)


async def tls(left: trio.SocketStream, right: trio.SocketStream) -> tuple[trio.SSLStream, trio.SSLStream]:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("server.test").configure_cert(ours)
    authority.configure_trust(theirs)
    server = trio.SSLStream(left, ours, server_side=True)
    client = trio.SSLStream(right, theirs, server_hostname="server.test")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    return server, client


@pytest.fixture(params=["unix", "tcp", "tls"])
async def streams(request, tcp_pair, socket_pair) -> tuple[trio.abc.Stream, trio.SocketStream, trio.socket.SocketType]:
    """A stream; the peer's socket; and the stream's. The peer announces room after a few kilobytes."""
    left, right = socket_pair() if request.param == "unix" else tcp_pair(4096)
    return (await tls(left, right))[0] if request.param == "tls" else left, right, left.socket


async def take(stream: trio.abc.ReceiveStream, size: int) -> None:
    while size > 0:
        size -= len(await stream.receive_some(size))


async def take_until_acknowledged(stream: trio.SocketStream, peer: trio.socket.SocketType) -> None:
    """Read until this system says that it has handed over more. The clock of the test stands still meanwhile."""
    before, deadline = progress(peer), time.monotonic() + 60
    while progress(peer) <= before:
        assert time.monotonic() < deadline
        with suppress(BlockingIOError):
            os.read(stream.socket.fileno(), 1_000)
        await trio.to_thread.run_sync(time.sleep, 0.001)


async def until_accepted(sender: Sender) -> None:
    """Wait until the system accepts no more."""
    accepted = -1
    while accepted != sender.statistics().bytes:
        accepted = sender.statistics().bytes
        await wait_all_tasks_blocked(0.05)


@linux
async def test_a_peer_that_takes_bytes_is_left_alone(streams, mock_clock) -> None:
    """Some of them in each six seconds, though perhaps not all of a record of TLS in ten or even twenty."""
    left, right, ours = streams
    async with open_sender(left, send_timeout=10, limits=SpoolLimits(window=len(MUCH) + 1)) as sender:
        sender.send_nowait(MUCH)
        await until_accepted(sender)
        for _ in range(12):
            await take_until_acknowledged(right, ours)
            mock_clock.jump(6)
            await wait_all_tasks_blocked(0.01)
        sender.send_nowait(b"")  # it is not broken
        sender.abort()


@linux
async def test_that_does_not_depend_on_what_is_writable(socket_pair, mock_clock) -> None:
    """A Unix socket becomes writable once its peer has taken three quarters of what was sent."""
    left, right = socket_pair()
    async with open_sender(left, send_timeout=10, limits=SpoolLimits(window=len(MUCH) + 1)) as sender:
        sender.send_nowait(MUCH)
        await until_accepted(sender)
        await take(right, 40_000)
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await until_accepted(sender)
        sender.send_nowait(b"")  # it is not broken
        for _ in range(3):
            mock_clock.jump(10)
            await until_accepted(sender)
        with pytest.raises(SpoolBrokenError, match="accepted no byte for 10 seconds"):
            await sender.drain()


async def test_a_stalled_peer_is_given_up_and_sees_it(streams, mock_clock) -> None:
    left, right, ours = streams
    async with open_sender(left, send_timeout=10) as sender:
        sender.send_nowait(MUCH)
        for _ in range(3):
            await until_accepted(sender)
            mock_clock.jump(10)
        with pytest.raises(SpoolBrokenError, match="accepted no byte for 10 seconds"):
            await sender.drain()
    assert ours.fileno() == -1
    if right.socket.family != socket.AF_UNIX:
        with pytest.raises(trio.BrokenResourceError):  # and not a plain end: it has not received everything
            while await right.receive_some():
                pass


async def test_no_timeout(streams, mock_clock) -> None:
    left, right, _ = streams
    async with left, open_sender(left, send_timeout=math.inf) as sender:
        sender.send_nowait(MUCH[:1_000_000])
        for _ in range(3):
            await until_accepted(sender)
            mock_clock.jump(1e6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, right, 1_000_000)
            await sender.drain()


@pytest.mark.parametrize(
    ("seconds", "error", "sentence"),
    [
        (0, ValueError, "more than 0 seconds, or math.inf for no timeout; got 0"),
        (-1.5, ValueError, "got -1.5"),
        (math.nan, ValueError, "got nan"),
        (-math.inf, ValueError, "got -inf"),
        ("30", TypeError, "a number of seconds; got '30'"),
        (None, TypeError, "got None"),
        (True, TypeError, "got True"),
    ],
)
async def test_what_is_no_timeout(socket_pair, seconds: object, error: type[Exception], sentence: str) -> None:
    left, _ = socket_pair()
    with pytest.raises(error, match=sentence):
        open_sender(left, send_timeout=seconds)


# Peers that leave


class Silent:
    """A producer that emits one fragment, and the next one only when the test lets it: a queue, a child process, a lock."""

    def __init__(self) -> None:
        self.queue: queue.Queue[bytes | None] = queue.Queue()
        self.begun, self.closed = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield b"first"
            self.begun.set()
            yield from iter(self.queue.get, None)
        finally:
            self.closed.set()


Leave = Callable[[trio.SocketStream], Awaitable[None]]


async def close(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    await stream.aclose()


async def half_close(stream: trio.SocketStream) -> None:
    await stream.send_eof()


async def expect_broken(sender: Sender, silent: Silent) -> None:
    with trio.fail_after(60), pytest.raises(SpoolBrokenError, match="the peer has left"):
        await sender.send_spool(silent)


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_peer_that_leaves_a_silent_producer_is_noticed(kind: str, leave: Leave, tcp_pair, socket_pair, until) -> None:
    left, right = tcp_pair() if kind == "tcp" else socket_pair()
    silent = Silent()
    await right.send_all(b"a request that nobody reads")
    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, sender, silent)
        assert await right.receive_some() == b"first"
        await until(silent.begun.is_set)  # else it might see at its next step that the peer has left
        await leave(right)
        await until_broken(sender)  # although the producer goes on being silent
        assert not silent.closed.is_set()
        silent.queue.put(b"more")  # its next fragment reaches nobody
        await until(silent.closed.is_set)


async def test_under_tls_too(tcp_pair, until) -> None:
    left, right = tcp_pair()
    server, client = await tls(left, right)
    silent = Silent()
    async with open_sender(server) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, sender, silent)
        assert await client.receive_some() == b"first"
        await until(silent.begun.is_set)
        await client.aclose()
        await until_broken(sender)
        silent.queue.put(None)
        await until(silent.closed.is_set)


async def until_broken(sender: Sender) -> None:
    with trio.fail_after(60), pytest.raises(SpoolBrokenError):
        while True:
            sender.send_nowait(b"")
            await trio.sleep(0.001)


async def test_a_peer_that_left_before_is_noticed_by_the_next_spool(tcp_pair) -> None:
    """Between two spools nothing is stopped: what was sent may still be on its way to a peer that goes on reading."""
    left, right = tcp_pair()
    async with open_sender(left) as sender:
        await sender.send_spool([b"one"])
        assert await right.receive_some() == b"one"
        await right.send_eof()
        await sender.send(b"two")
        assert await right.receive_some() == b"two"
        with pytest.raises(SpoolBrokenError, match="the peer has left"):
            while True:
                await sender.send_spool([b"three"])


async def test_a_peer_may_close_its_side(tcp_pair, until) -> None:
    """If it is not watched."""
    (left, right), (other, other_right) = tcp_pair(), tcp_pair()
    silent, noticed = Silent(), Silent()
    async with left, open_sender(left, watch_peer=False) as sender, open_sender(other) as watched, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_spool, silent)
        nursery.start_soon(expect_broken, watched, noticed)
        await until(silent.begun.is_set)
        await right.send_eof()
        await other_right.send_eof()
        await until_broken(watched)
        noticed.queue.put(None)
        silent.queue.put(b"second")
        silent.queue.put(None)
        await take(right, len(b"firstsecond"))
    assert await right.receive_some() == b""


async def test_a_descriptor_that_is_used_again(tcp_pair) -> None:
    """A sender that ends forgets its own socket, not the one that has its descriptor now."""
    (left, _), (model, peer) = tcp_pair(), tcp_pair()
    silent = Silent()
    descriptor = left.socket.fileno()

    async def send_again() -> None:
        os.dup2(model.socket.fileno(), descriptor)
        model.socket.close()
        again = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))
        async with open_sender(again) as sender, trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, sender, silent)
            await until_broken(sender)
            silent.queue.put(None)

    async with trio.open_nursery() as nursery:
        async with open_sender(left) as sender:
            await sender.send_spool([b"x"])
            await left.aclose()  # while it is watched
            nursery.start_soon(send_again)
            assert await peer.receive_some() == b"first"
        await peer.aclose()


async def test_threads_that_wait_for_room_are_stopped_too(tcp_pair) -> None:
    """A function that writes, whose peer neither reads nor stays."""
    left, right = tcp_pair()
    stopped = threading.Event()

    def write(out) -> None:
        try:
            while True:
                out.write(bytes(100_000))
        finally:
            stopped.set()

    with trio.fail_after(60):
        async with open_sender(left, limits=SpoolLimits(window=1_000_000, batch=200_000)) as sender, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(SpoolBrokenError):
                    await sender.send_spool(write)

            await take(right, 1)
            await wait_all_tasks_blocked()
            await right.aclose()
    assert stopped.is_set()


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_closed_socket_tells_of_no_progress(family: int) -> None:
    with socket.socket(family) as one:
        pass
    assert progress(one) is None
