"""Output that was cut off: the peer sees a reset where it would otherwise take a part for the whole."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolBrokenError, SpoolClosedError, SpoolLimits, open_sender


class Boom(Exception):
    pass


def rows(fail_after: int) -> Iterator[bytes]:
    for number in range(fail_after):
        yield b"%d\n" % number
    raise Boom


def receive(peer: trio.SocketStream) -> tuple[bytes, bool]:
    """Read as another program would, with a plain socket. Return what came, and whether the end was a clean one."""
    received = b""
    with socket.socket(fileno=peer.socket.detach()) as plain:
        plain.settimeout(60)
        try:
            while data := plain.recv(65536):
                received += data
        except ConnectionResetError:
            return received, False
    return received, True


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("fail_after", [0, 5])
async def test_a_report_that_fails(tcp_pair, fail_after: int, whole: bool) -> None:
    """As in the README's first example: the error leaves the block."""
    left, right = tcp_pair()
    with pytest.raises(Boom):
        async with left, open_sender(left) as sender:
            await sender.send(b"header\n")
            await sender.send_spool(rows(fail_after), whole=whole)
    _, clean = receive(right)
    assert not clean


async def test_a_report_that_does_not(tcp_pair) -> None:
    left, right = tcp_pair()
    async with left, open_sender(left) as sender:
        await sender.send_spool([b"all"])
    assert receive(right) == (b"all", True)


async def test_a_failure_after_everything_was_sent(tcp_pair) -> None:
    left, right = tcp_pair()
    with pytest.raises(Boom):
        async with left, open_sender(left) as sender:
            await sender.send_spool([b"all"])
            raise Boom
    assert receive(right) == (b"all", True)


async def test_a_failure_that_the_peer_was_told_of(tcp_pair) -> None:
    """An error message that follows is received: a reset would destroy it on its way."""
    left, right = tcp_pair()
    with pytest.raises(Boom):
        async with left, open_sender(left) as sender:
            try:
                await sender.send_spool(rows(2))
            except Boom:
                await sender.send(b"error\n")
                await sender.drain()
                raise
    assert receive(right) == (b"0\n1\nerror\n", True)


async def test_a_failure_that_was_handled(tcp_pair) -> None:
    """Whoever catches the error says what is to happen."""
    left, right = tcp_pair()
    async with left, open_sender(left) as sender:
        with pytest.raises(Boom):
            await sender.send_spool(rows(2))
    assert receive(right) == (b"0\n1\n", True)


async def test_a_failure_that_was_handled_by_aborting(tcp_pair) -> None:
    left, right = tcp_pair()
    async with left, open_sender(left) as sender:
        with pytest.raises(Boom):
            await sender.send_spool(rows(2))
        sender.abort()
        with pytest.raises(SpoolBrokenError, match="aborted"):
            await sender.send(b"more")
    _, clean = receive(right)
    assert not clean


async def test_cancelled_with_something_queued(tcp_pair) -> None:
    left, right = tcp_pair()
    with trio.CancelScope() as scope:
        async with left, open_sender(left, limits=SpoolLimits(window=20_000_000)) as sender:
            await sender.send(bytes(12_000_000))
            await sender.send(b"the end")
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    received, clean = await trio.to_thread.run_sync(receive, right)
    assert not received.endswith(b"the end")
    assert not clean


async def test_cancelled_in_a_spool(tcp_pair) -> None:
    left, right = tcp_pair()
    with trio.CancelScope() as scope:
        async with left, open_sender(left) as sender, trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_spool, iter(lambda: b"x" * 1000, None))
            await right.receive_some(1)
            scope.cancel()
    _, clean = await trio.to_thread.run_sync(receive, right)
    assert not clean


async def test_aborting_stops_everything(tcp_pair) -> None:
    left, right = tcp_pair()
    closed, broken = threading.Event(), []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(100_000)
        finally:
            closed.set()

    async def expect_broken(function, *arguments) -> None:
        with pytest.raises(SpoolBrokenError, match="the connection was aborted"):
            await function(*arguments)
        broken.append(function)

    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, sender.send_spool, endless())
        await right.receive_some(1)
        nursery.start_soon(expect_broken, sender.send_spool, [b"behind"])
        nursery.start_soon(expect_broken, sender.drain)
        await wait_all_tasks_blocked()
        sender.abort()
        sender.abort()  # again changes nothing
    assert closed.is_set()
    assert len(broken) == 3
    assert not (await trio.to_thread.run_sync(receive, right))[1]


@pytest.mark.parametrize("waiting", [False, True])
async def test_aborting_a_stream_without_a_socket(waiting: bool) -> None:
    left, right = memory_stream_pair()
    async with open_sender(left) as sender:
        await sender.send(b"x")
        if waiting:
            await wait_all_tasks_blocked()
        sender.abort()
    with pytest.raises(trio.ClosedResourceError):
        await left.send_all(b"y")
    assert await right.receive_some() in (b"", b"x")


async def test_aborting_after_the_block(tcp_pair) -> None:
    left, right = tcp_pair()
    async with open_sender(left) as sender:
        await sender.send(b"x")
    sender.abort()
    with pytest.raises(SpoolClosedError):
        await sender.send(b"y")
    assert not (await trio.to_thread.run_sync(receive, right))[1]


async def test_what_a_unix_socket_can_tell(socket_pair) -> None:
    """Nothing: there is no reset. It is closed all the same."""
    left, right = socket_pair()
    with pytest.raises(Boom):
        async with open_sender(left) as sender:
            await sender.send_spool(rows(3))
    assert left.socket.fileno() == -1
    assert receive(right) == (b"0\n1\n2\n", True)
