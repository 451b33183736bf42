"""Cancellations and interrupts at random moments: nothing is lost, left behind or swallowed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from support.loops import Run, every_asyncio
from trio_spool import SpoolLimits, SpoolWriter, stream, wait_closed
from trio_spool.asyncio import open_sender, open_spool
from trio_spool.asyncio._loop import asyncio_loop

# How many of each kind. The session "fuzz" has many more.
COUNT = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 100


class Producer:
    """A producer of a random kind, which notes when it is at work, and what it has emitted."""

    def __init__(self, chance: random.Random) -> None:
        self.begun = False
        self.ended = threading.Event()
        self._size = chance.choice((1, 100, 3000))
        self._count = chance.choice((0, 3, 100, 3000))
        self._pause = chance.choice((0.0, 0.0, 0.0001))
        self.limits = SpoolLimits(window=chance.choice((1, 1000, 100_000)), batch=chance.choice((1, 300, 50_000)))
        self.make: Callable[[], Any] = chance.choice((self.rows, lambda: self.write))

    def rows(self) -> Iterator[bytes]:
        self.begun = True
        wait = threading.Event()
        try:
            for number in range(self._count):
                if self._pause and number % 50 == 0:
                    wait.wait(self._pause)
                yield bytes([number % 256]) * self._size
        finally:
            self.ended.set()

    def write(self, out: SpoolWriter) -> None:
        for row in self.rows():
            out.write(row)

    def check(self, received: bytes, *, complete: bool) -> None:
        assert not self.begun or self.ended.is_set()
        expected = b"".join(bytes([number % 256]) * self._size for number in range(self._count if complete else len(received)))
        assert received == expected[: len(received)]
        assert not complete or received == expected


async def by_spool(producer: Producer, received: bytearray) -> None:
    async with open_spool(producer.make(), limits=producer.limits) as batches:
        async for batch in batches:
            received += batch


async def by_stream(producer: Producer, received: bytearray) -> None:
    async with stream(producer.make(), limits=producer.limits) as batches:
        async for batch in batches:
            received += batch


async def by_sender(producer: Producer, received: bytearray) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)

        async def receive() -> None:
            while data := await asyncio.get_running_loop().sock_recv(theirs, 65536):
                received.extend(data)

        receiving = asyncio.ensure_future(receive())
        try:
            async with open_sender(ours) as sender:
                await sender.send_spool(producer.make(), limits=producer.limits)
            ours.close()
            await receiving
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])


WAYS = [by_spool, by_stream, by_sender]
Way = Callable[[Producer, bytearray], Coroutine[Any, Any, None]]


async def pass_by(chance: random.Random) -> None:
    """Wait for some passes of the loop, or some time."""
    if chance.random() < 0.5:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(chance.random() * 0.003)


@every_asyncio
@pytest.mark.parametrize("way", WAYS)
def test_any_cancellation(run: Run, way: Way) -> None:
    async def main() -> None:
        for seed in range(COUNT):
            chance = random.Random(seed)
            producer, received = Producer(chance), bytearray()
            task = asyncio.ensure_future(way(producer, received))
            for _ in range(chance.choice((1, 1, 3))):
                await pass_by(chance)
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None, seed
            producer.check(bytes(received), complete=not task.cancelled())
        await wait_closed()
        loop = asyncio_loop()
        assert not loop._drivers
        assert not any(semaphore.locked() for semaphore in loop.limiters.values())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio raised it anywhere, in the middle of its own functions, too")
@pytest.mark.parametrize("way", WAYS)
def test_any_interrupt(way: Way) -> None:
    """asyncio.run raises it, after the producer has ended."""

    async def main(producer: Producer, delay: float) -> None:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        await way(producer, bytearray())
        for _ in range(6000):  # in one sleep, a signal that comes just before it would be noticed at its end
            await asyncio.sleep(0.01)

    for seed in range(COUNT // 2):
        chance = random.Random(seed)
        producer = Producer(chance)
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main(producer, chance.random() * 0.01))
        assert not producer.begun or producer.ended.is_set(), seed
