"""A sender that breaks: everybody who waits for it is told, and every producer is closed."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolLimits, open_sender

SMALL = SpoolLimits(window=1000, batch=300)


@pytest.mark.parametrize("kind", ["socket", "lockstep"])
async def test_a_peer_that_accepts_nothing_is_given_up(kind: str, socket_pair) -> None:
    left, right = socket_pair(4096) if kind == "socket" else lockstep_stream_pair()
    async with open_sender(left, send_timeout=0.05) as sender:
        with pytest.raises(trio.BrokenResourceError, match=r"no byte for 0\.05 seconds"):
            await sender.send_spool(b"x" * 10_000 for _ in iter(int, 1))
        with pytest.raises(trio.BrokenResourceError):
            await sender.send(b"more")
        with pytest.raises(trio.BrokenResourceError):
            sender.send_nowait(b"more")
        with pytest.raises(trio.BrokenResourceError):
            await sender.send_spool([b"more"])
        with pytest.raises(trio.BrokenResourceError):
            await sender.drain()
        with pytest.raises(trio.ClosedResourceError):
            await left.send_all(b"the stream is closed")
    await right.aclose()


async def test_waiters_are_told_when_it_breaks(socket_pair) -> None:
    left, right = socket_pair(4096)
    failures = []

    async def expect_broken(function, *args) -> None:
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):  # a waiter that is not told waits for ever
            await function(*args)
        failures.append(function)

    async with open_sender(left, limits=SMALL) as sender, trio.open_nursery() as nursery:
        while True:
            try:
                sender.send_nowait(b"x" * 1000)
            except trio.WouldBlock:
                await wait_all_tasks_blocked()
                if sender.statistics().queued >= SMALL.window:
                    break
        nursery.start_soon(expect_broken, sender.send, b"waiting")
        nursery.start_soon(expect_broken, sender.send_spool, [b"waiting"])
        nursery.start_soon(expect_broken, sender.drain)
        await wait_all_tasks_blocked()
        await right.aclose()
    assert len(failures) == 3
    assert sender.statistics().queued == 0


async def test_spools_behind_the_one_that_breaks_it_are_told(socket_pair, closable) -> None:
    """Their producers never have a turn, and are closed."""
    left, right = socket_pair(4096)
    waiting = [closable() for _ in range(3)]
    failures = []

    async def expect_broken(producer) -> None:
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await sender.send_spool(producer)
        failures.append(producer)

    async with open_sender(left, limits=SMALL) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, iter(lambda: b"x" * 100, None))
        await wait_all_tasks_blocked()
        for producer in waiting:
            nursery.start_soon(expect_broken, producer)
        await wait_all_tasks_blocked()
        await right.receive_some(100)
        await right.aclose()
    assert len(failures) == 4
    assert [(producer.begun, producer.closed) for producer in waiting] == [(False, True)] * 3


async def test_peer_gone_in_the_middle_of_a_spool_closes_its_generator(socket_pair) -> None:
    left, right = socket_pair(4096)
    closed = threading.Event()

    def generate():
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    async with open_sender(left) as sender, trio.open_nursery() as nursery:

        async def leave() -> None:
            await right.receive_some(100)
            await right.aclose()

        nursery.start_soon(leave)
        with pytest.raises(trio.BrokenResourceError):
            await sender.send_spool(generate())
        assert closed.is_set()
