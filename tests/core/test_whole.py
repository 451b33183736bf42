"""send_spool(whole=True): what makes sense only if it is complete."""

from __future__ import annotations

import sys
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool import open_sender

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401


@pytest.fixture
def pair(socket_pair):
    return socket_pair()


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    with trio.fail_after(60):
        async for data in stream:
            received += bytes(data)
    return received


def failing(after: int):
    for _ in range(after):
        yield b"part"
    raise RuntimeError("half-way")


async def test_complete(pair) -> None:
    left, right = pair
    async with left, open_sender(left) as sender:
        await sender.send_spool([b"a", b"b"], whole=True)
        await sender.send(b"c")
    assert await read_all(right) == b"abc"


@pytest.mark.parametrize("whole", [False, True])
async def test_what_comes_next_is_not_taken_for_the_rest(pair, whole: bool) -> None:
    left, right = pair
    async with open_sender(left) as sender:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(RuntimeError, match="half-way"):
                    await sender.send_spool(failing(3), whole=whole)

            await wait_all_tasks_blocked()
            if whole:
                with pytest.raises(trio.BrokenResourceError, match="could not be completed"):
                    while True:
                        await sender.send(b"next")
            else:
                await sender.send(b"next")
    if not whole:
        await left.aclose()
    received = await read_all(right)
    assert received.startswith(b"part" * 3)
    assert (received == b"part" * 3) == whole


async def test_queued_behind_it(pair) -> None:
    left, right = pair
    go_on = threading.Event()

    def held():
        yield b"part"
        assert go_on.wait(20)
        raise RuntimeError("half-way")

    async with open_sender(left) as sender, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(RuntimeError, match="half-way"):
                await sender.send_spool(held(), whole=True)

        assert await right.receive_some(100) == b"part"
        await sender.send(b"not the rest")
        go_on.set()
        assert await read_all(right) == b""


async def test_a_failure_before_the_first_byte_breaks_nothing(pair) -> None:
    left, right = pair
    async with left, open_sender(left) as sender:
        with pytest.raises(RuntimeError, match="half-way"):
            await sender.send_spool(failing(0), whole=True)
        await sender.send(b"next")
    assert await read_all(right) == b"next"


async def test_cancelled_half_way(pair) -> None:
    left, right = pair

    def endless():
        while True:
            yield b"part" * 1000

    received = b""

    async def read() -> None:
        nonlocal received
        received = await read_all(right)

    async with trio.open_nursery() as reading, open_sender(left) as sender:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: sender.send_spool(endless(), whole=True))
                await right.receive_some(10)
                scope.cancel()
        reading.start_soon(read)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await sender.send(b"not the rest")
                await trio.sleep(0)
    assert b"not" not in received


async def test_cancelled_before_its_turn(pair) -> None:
    left, right = pair
    async with left, open_sender(left) as sender:
        with trio.CancelScope() as scope:
            scope.cancel()
            await sender.send_spool([b"part"], whole=True)
        await sender.send(b"next")
    assert await read_all(right) == b"next"
