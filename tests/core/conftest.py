"""Pairs of sockets, producers and streams that tests of spools and senders share."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

SocketPair = Callable[..., tuple[trio.SocketStream, trio.SocketStream]]


@pytest.fixture
def socket_pair() -> Iterator[SocketPair]:
    """Make two connected sockets whose buffers have a size, if one is given; they are closed at the end of the test."""
    opened: list[socket.socket] = []

    def make(buffer: int | None = None) -> tuple[trio.SocketStream, trio.SocketStream]:
        left, right = socket.socketpair()
        opened.extend((left, right))
        left.setblocking(False)
        right.setblocking(False)
        if buffer is not None:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        first, second = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (left, right))
        return first, second

    yield make
    for end in opened:
        end.close()


@pytest.fixture
def tcp_pair() -> Iterator[SocketPair]:
    """Make connections over TCP, the second end with a receive buffer of a size, if one is given. The test's end closes them."""
    opened: list[socket.socket] = []

    def make(buffer: int | None = None) -> tuple[trio.SocketStream, trio.SocketStream]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            right = socket.socket()
            if buffer is not None:  # before it connects, when it announces its room for the first time
                right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            right.connect(listener.getsockname())
            left, _ = listener.accept()
        opened.extend((left, right))
        left.setblocking(False)
        right.setblocking(False)
        first, second = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (left, right))
        return first, second

    yield make
    for end in opened:
        end.close()


class Closable:
    """An iterator of endless fragments that notes whether it was asked for one, and whether it was closed."""

    begun = closed = False

    def __iter__(self) -> Closable:
        return self

    def __next__(self) -> bytes:
        self.begun = True
        return b"x" * 100

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def closable() -> Callable[[], Closable]:
    return Closable


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition that threads change is true."""

    async def wait(condition: Callable[[], object]) -> None:
        with trio.fail_after(60):
            while not condition():
                await trio.sleep(0.001)

    return wait
