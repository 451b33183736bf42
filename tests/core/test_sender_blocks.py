"""The block of a sender: who may leave it, what it raises, and what is left of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_spool import SpoolBrokenError, SpoolClosedError, open_sender
from trio_spool._core import Sender


class Boom(Exception):
    pass


class BrokenStream(trio.abc.SendStream):
    """A stream that fails in a way that no stream should."""

    def __init__(self) -> None:
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        raise Boom

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def sender_of_a_generator(stream: trio.abc.SendStream) -> AsyncIterator[Sender]:
    async with open_sender(stream) as sender:
        yield sender


async def test_left_in_another_task(tcp_pair) -> None:
    """As by a framework that drops an async generator: an error that says so, and nothing else is damaged."""
    left, right = tcp_pair()
    generator = sender_of_a_generator(left)

    async def enter() -> None:
        sender = await generator.__anext__()
        await sender.send(b"x" * 10_000_000)  # more than the buffers take

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
    with pytest.raises(RuntimeError, match=r"enter and left by another one, .*the task that serves the connection"):
        await generator.aclose()
    with pytest.raises(trio.BrokenResourceError):  # what was queued was cut off
        while await right.receive_some(100_000):
            pass
    left, right = tcp_pair()
    async with right, open_sender(left) as sender:
        await sender.send(b"ok")
        assert await right.receive_some(2) == b"ok"


def test_left_open_when_trio_ends(tcp_pair) -> None:
    """The run ends, although the peer does not read."""
    kept = []

    async def main() -> None:
        left, _ = tcp_pair()
        generator = sender_of_a_generator(left)
        sender = await generator.__anext__()
        await sender.send(b"x" * 10_000_000)  # more than the buffers take
        kept.extend([generator, sender])

    trio.run(main)
    with pytest.raises(SpoolClosedError):
        kept[1].send_nowait(b"x")


async def test_a_stream_that_fails_in_its_own_way() -> None:
    stream = BrokenStream()
    with pytest.raises(Boom):
        async with open_sender(stream) as sender:
            await sender.send(b"x")
            with pytest.raises(SpoolBrokenError, match="the sender failed: Boom"):
                await sender.drain()
    assert stream.closed


async def test_it_fails_after_its_block() -> None:
    with pytest.raises(Boom):
        async with open_sender(BrokenStream()) as sender:
            sender.send_nowait(b"x")


async def test_it_fails_beside_its_block() -> None:
    with pytest.raises(Boom) as caught:
        async with open_sender(BrokenStream()) as sender:
            sender.send_nowait(b"x")
            with pytest.raises(SpoolBrokenError):
                await sender.drain()
            raise LookupError
    assert isinstance(caught.value.__context__, LookupError)


@pytest.mark.parametrize("tcp", [True, False])
async def test_nothing_is_left_for_the_collector(tcp: bool, tcp_pair) -> None:
    left, right = tcp_pair() if tcp else memory_stream_pair()
    gc.collect()
    gc.disable()
    try:
        async with right, left:
            async with open_sender(left) as sender:
                await sender.send(b"x")
                await sender.send_spool(iter([b"a"] * 10))
                left_over = [weakref.ref(sender), weakref.ref(sender._task), weakref.ref(sender._task.outlet)]
                del sender
            await trio.testing.wait_all_tasks_blocked()
            assert [reference() for reference in left_over] == [None, None, None]
    finally:
        gc.enable()
