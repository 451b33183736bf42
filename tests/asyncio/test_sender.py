"""A sender on asyncio, over the transport of a stream or over a socket: the promises of `trio_spool.open_sender`."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.loops import Run, every_asyncio
from trio_spool import SpoolBrokenError, SpoolClosedError, SpoolFullError, SpoolLimits, SpoolWriter
from trio_spool.asyncio import open_sender

SMALL = SpoolLimits(window=1000, batch=300)
Connect = Callable[..., Any]


@asynccontextmanager
async def over_a_stream(small: bool = False) -> AsyncIterator[tuple[asyncio.StreamWriter, socket.socket]]:
    with listen(small) as (listener, connect):
        _reader, writer = await asyncio.open_connection(sock=connect())
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        with peer:
            yield writer, peer
            writer.close()


@asynccontextmanager
async def over_a_socket(small: bool = False) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    with listen(small) as (listener, connect):
        ours = connect()
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        with ours, peer:
            yield ours, peer


class listen:
    """A listener on a free port, and a function that connects to it; with small buffers if they are to be full soon."""

    def __init__(self, small: bool) -> None:
        self._small = small

    def __enter__(self) -> tuple[socket.socket, Callable[[], socket.socket]]:
        self._listener = socket.socket()
        if self._small:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        return self._listener, self._connect

    def _connect(self) -> socket.socket:
        ours = socket.create_connection(self._listener.getsockname())
        if self._small:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        return ours

    def __exit__(self, *_: object) -> None:
        self._listener.close()


every_kind = pytest.mark.parametrize("connection", [over_a_stream, over_a_socket], ids=["stream", "socket"])


async def receive_all(peer: socket.socket) -> bytes:
    received = bytearray()
    while data := await asyncio.get_running_loop().sock_recv(peer, 65536):
        received += data
    return bytes(received)


async def receive_until(peer: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (data := await asyncio.get_running_loop().sock_recv(peer, 65536)):
        received += data
    return bytes(received)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(60_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen in a minute")


def rows(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%07d\n" % number


class Endless:
    closed = False

    def rows(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            self.closed = True


@every_asyncio
@every_kind
def test_everything_is_sent_in_order(run: Run, connection: Connect) -> None:
    def write(out: SpoolWriter) -> None:
        for row in rows(20_000):
            out.write(row)

    async def main() -> None:
        async with connection() as (stream, peer):
            receiving = asyncio.ensure_future(receive_until(peer, 6 + 2 * 8 * 20_000 + 6))
            async with open_sender(stream) as sender:
                await sender.send(b"begin\n")
                await sender.send_spool(rows(20_000))
                await sender.send_spool(write, whole=True)
                sender.send_nowait(bytearray(b"ended\n"))
                await sender.drain()
                statistics = sender.statistics()
            body = b"".join(rows(20_000))
            assert await receiving == b"begin\n" + body + body + b"ended\n"
            assert statistics.bytes == 12 + 2 * len(body)
            with pytest.raises(SpoolClosedError):
                sender.send_nowait(b"late")

    run(main)


@every_asyncio
@every_kind
def test_more_than_the_buffers_hold(run: Run, connection: Connect) -> None:
    """The writes have to wait, and the peer gets everything all the same."""

    async def main() -> None:
        async with connection(small=True) as (stream, peer):
            async with open_sender(stream) as sender:
                sending = asyncio.ensure_future(sender.send_spool(rows(50_000)))
                await until(lambda: sender.statistics().batches > 0)
                assert await receive_until(peer, 8 * 50_000) == b"".join(rows(50_000))
                await sending
            assert sender.statistics().bytes == 8 * 50_000
            assert sender.statistics().blocked_seconds > 0

    run(main)


@every_asyncio
@every_kind
def test_a_stalled_peer_holds_a_bounded_number_of_bytes(run: Run, connection: Connect) -> None:
    emitted = 0

    def endless() -> Iterator[bytes]:
        nonlocal emitted
        while True:
            emitted += 100
            yield b"x" * 100

    async def main() -> None:
        async with connection(small=True) as (stream, _peer):
            with pytest.raises(asyncio.CancelledError):
                async with open_sender(stream, limits=SMALL) as sender:
                    sending = asyncio.ensure_future(sender.send_spool(endless()))
                    before = -1
                    while before != emitted:
                        before = emitted
                        await asyncio.sleep(0.05)
                    held = emitted - sender.statistics().bytes
                    assert held <= SMALL.window + SMALL.batch + 200
                    if isinstance(stream, asyncio.StreamWriter):
                        assert 0 < stream.transport.get_write_buffer_size() <= SMALL.batch + 100
                    sending.cancel()
                    await sending

    run(main)


@every_asyncio
@every_kind
def test_send_nowait_refuses_when_a_window_is_queued(run: Run, connection: Connect) -> None:
    async def main() -> None:
        async with connection() as (stream, peer):
            async with open_sender(stream, limits=SMALL) as sender:
                for _ in range(10):
                    sender.send_nowait(b"x" * 100)
                with pytest.raises(SpoolFullError):
                    sender.send_nowait(b"y")
                await sender.send(b"z")
                await sender.drain()
            assert await receive_until(peer, 1001) == b"x" * 1000 + b"z"

    run(main)


@every_asyncio
@every_kind
def test_a_peer_that_takes_nothing_is_given_up(run: Run, connection: Connect) -> None:
    endless = Endless()

    async def main() -> None:
        async with connection(small=True) as (stream, _peer):
            async with open_sender(stream, send_timeout=0.1) as sender:
                with pytest.raises(SpoolBrokenError, match=r"accepted no byte for 0\.1 seconds"):
                    await sender.send_spool(endless.rows())
                assert endless.closed
                with pytest.raises(SpoolBrokenError):
                    await sender.send(b"x")

    run(main)


@every_asyncio
@every_kind
def test_a_peer_that_reads_slowly_is_left_alone(run: Run, connection: Connect) -> None:
    async def main() -> None:
        async with connection(small=True) as (stream, peer):
            async with open_sender(stream, send_timeout=0.3) as sender:
                sending = asyncio.ensure_future(sender.send_spool(rows(20_000)))
                received = b""
                for _ in range(10):
                    await asyncio.sleep(0.1)
                    received += await receive_until(peer, 4000)
                received += await receive_until(peer, 8 * 20_000 - len(received))
                await sending
            assert received == b"".join(rows(20_000))

    run(main)


@every_asyncio
@every_kind
def test_no_timeout(run: Run, connection: Connect) -> None:
    async def main() -> None:
        async with connection(small=True) as (stream, peer):
            async with open_sender(stream, send_timeout=math.inf) as sender:
                sending = asyncio.ensure_future(sender.send_spool(rows(20_000)))
                await asyncio.sleep(0.05)
                assert await receive_until(peer, 8 * 20_000) == b"".join(rows(20_000))
                await sending

    run(main)


@every_asyncio
@every_kind
def test_a_peer_that_leaves_stops_a_silent_producer(run: Run, connection: Connect) -> None:
    stopped = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"x"
        stopped.wait(60)
        yield b"y"

    async def main() -> None:
        async with connection() as (stream, peer):
            async with open_sender(stream) as sender:
                sending = asyncio.ensure_future(sender.send_spool(silent()))
                assert await receive_until(peer, 1) == b"x"
                peer.close()
                await until(lambda: sender._task.current is None)  # the sender has given it up, though the producer is silent
                stopped.set()
                with pytest.raises(SpoolBrokenError):
                    await sending

    run(main)


@every_asyncio
@every_kind
def test_a_peer_that_resets_the_connection(run: Run, connection: Connect) -> None:
    endless = Endless()

    async def main() -> None:
        async with connection() as (stream, peer):
            async with open_sender(stream, watch_peer=False) as sender:
                sending = asyncio.ensure_future(sender.send_spool(endless.rows()))
                await receive_until(peer, 1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.close()
                with pytest.raises(SpoolBrokenError):
                    await sending
                assert endless.closed
                with pytest.raises(SpoolBrokenError):
                    await sender.drain()

    run(main)


@every_asyncio
@every_kind
def test_a_producer_that_fails_resets_the_connection(run: Run, connection: Connect) -> None:
    def fails() -> Iterator[bytes]:
        yield b"a part"
        raise ValueError("the disk is gone")

    async def main() -> None:
        async with connection() as (stream, peer):
            with pytest.raises(ValueError, match="the disk is gone"):
                async with open_sender(stream) as sender:
                    await sender.send_spool(fails())
            with pytest.raises(ConnectionResetError):
                await receive_all(peer)

    run(main)


@every_asyncio
@every_kind
def test_abort_while_a_write_waits(run: Run, connection: Connect) -> None:
    endless = Endless()

    async def main() -> None:
        async with connection(small=True) as (stream, peer):
            async with open_sender(stream) as sender:
                sending = asyncio.ensure_future(sender.send_spool(endless.rows()))
                await until(lambda: sender.statistics().bytes)
                await asyncio.sleep(0.02)
                sender.abort()
                with pytest.raises(SpoolBrokenError):
                    await sending
            assert endless.closed
            with pytest.raises(ConnectionResetError):
                await receive_all(peer)

    run(main)


@every_asyncio
@every_kind
def test_cancelled_in_the_middle(run: Run, connection: Connect) -> None:
    """The block ends after its producer, and the peer can tell that it did not get everything."""
    endless = Endless()

    async def main() -> None:
        async with connection(small=True) as (stream, peer):

            async def serve() -> None:
                async with open_sender(stream) as sender:
                    await sender.send_spool(endless.rows())

            serving = asyncio.ensure_future(serve())
            await receive_until(peer, 1000)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert endless.closed
            with pytest.raises(ConnectionResetError):
                await receive_all(peer)

    run(main)


@every_asyncio
@every_kind
def test_cancelled_while_the_block_waits_for_the_peer(run: Run, connection: Connect) -> None:
    async def main() -> None:
        async with connection(small=True) as (stream, _peer):

            async def serve() -> None:
                async with open_sender(stream) as sender:
                    for _ in range(20):  # not a full window, so that it is the block's end that waits
                        await sender.send(b"x" * 100_000)

            started = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(serve(), 0.1)
            assert time.monotonic() - started < 5  # and not the 30 seconds of the peer

    run(main)


@every_asyncio
def test_the_stream_is_left_open_and_as_it_was(run: Run) -> None:
    async def main() -> None:
        async with over_a_stream() as (writer, peer):
            before = writer.transport.get_write_buffer_limits()
            async with open_sender(writer) as sender:
                await sender.send(b"one")
            assert writer.transport.get_write_buffer_limits() == before
            writer.write(b"two")
            await writer.drain()
            writer.write_eof()
            assert await receive_all(peer) == b"onetwo"

    run(main)


@every_asyncio
def test_what_cannot_be_sent_to(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="StreamWriter or a socket"):
            open_sender(object())  # type: ignore[arg-type]
        with socket.socket() as blocking, pytest.raises(ValueError, match="must not block"):
            open_sender(blocking)
        with socket.socket() as ours:
            ours.setblocking(False)
            for bad, error in ((0, ValueError), (math.nan, ValueError), ("1", TypeError)):
                with pytest.raises(error, match="send_timeout"):
                    open_sender(ours, send_timeout=bad)  # type: ignore[arg-type]

    run(main)


@every_asyncio
def test_over_tls(run: Run) -> None:
    import trustme

    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with open_sender(writer) as sender:
                await sender.send_spool(rows(60_000))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_side, server_hostname="localhost"
            )
            assert await reader.read(-1) == b"".join(rows(60_000))
            writer.close()

    run(main)
