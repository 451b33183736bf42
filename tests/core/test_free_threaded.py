"""Several threads and the event loop at once, every byte compared: what a Python without the interpreter's lock would get wrong.

These tests run on every Python. With the lock they find a hand-over that relies on the wrong operation being atomic only by chance;
the session ``free-threaded`` of the noxfile runs them where there is no lock.
"""

from __future__ import annotations

import socket
import threading
from array import array
from collections.abc import Callable, Iterator

import pytest
import trio

from trio_spool import SpoolLimits, SpoolWriter, open_sender, open_spool

STREAMS = 4
FRAGMENTS = 20_000  # of each stream; a hand-over that was wrong without the lock showed it within 2,000
SMALL = SpoolLimits(window=20_000, batch=5_000)  # full, paused and resumed all the time
LIMITS = [pytest.param(None, id="usual limits"), pytest.param(SMALL, id="small limits")]


def numbers(start: int, count: int = FRAGMENTS) -> Iterator[bytes]:
    """Emit fragments of 104 bytes. Each differs from its neighbours in every eight bytes."""
    for number in range(start, start + count):
        yield array("Q", range(number, number + 13)).tobytes()


def of_all_sizes(start: int, count: int = FRAGMENTS // 20) -> Iterator[bytes]:
    """Emit fragments of 8 to 8,000 bytes, so that the way in which they are collected changes all the time."""
    for number in range(start, start + count):
        yield array("Q", range(number, number + 1 + number * 7919 % 1000)).tobytes()


def write_numbers(start: int) -> Callable[[SpoolWriter], None]:
    """Return a function that writes the same as `numbers`."""

    def write(out: SpoolWriter) -> None:
        for fragment in numbers(start):
            out.write(fragment)

    return write


KINDS = {"numbers": (numbers, numbers), "of all sizes": (of_all_sizes, of_all_sizes), "written": (write_numbers, numbers)}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("kind", KINDS)
async def test_streams_at_once_are_exact(kind: str, limits: SpoolLimits | None) -> None:
    producer, expected = KINDS[kind]

    async def stream(start: int) -> None:
        async with open_spool(producer(start), limits=limits) as batches:
            received = b"".join([batch async for batch in batches])
        assert received == b"".join(expected(start))

    async with trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(stream, number * 1_000_000)


@pytest.mark.parametrize("limits", LIMITS)
async def test_sockets_at_once_are_exact(socket_pair, limits: SpoolLimits | None) -> None:
    """Threads of other programs read them, so the event loop is never alone."""

    async def stream(start: int) -> None:
        left, right = socket_pair()
        theirs = socket.socket(fileno=right.socket.detach())
        received = bytearray()

        def read() -> None:
            theirs.setblocking(True)
            with theirs:
                while data := theirs.recv(65536):
                    received.extend(data)

        thread = threading.Thread(target=read)
        thread.start()
        async with left, open_sender(left, limits=limits) as sender:
            await sender.send_spool(numbers(start))
            await sender.send_spool(of_all_sizes(start))
        await trio.to_thread.run_sync(thread.join)
        assert bytes(received) == b"".join(numbers(start)) + b"".join(of_all_sizes(start))

    async with trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(stream, number * 1_000_000)


async def test_the_last_bytes_of_streams_that_are_left_are_exact() -> None:
    """Readers that leave in the middle have got a beginning of the output, and its producer has ended."""

    async def stream(start: int) -> None:
        for take in range(1, 40):
            received = b""
            async with open_spool(numbers(start), limits=SMALL) as batches:
                async for batch in batches:
                    received += batch
                    if len(received) >= take * 2_000:
                        break
            assert received == b"".join(numbers(start, len(received) // 104 + 1))[: len(received)]

    async with trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(stream, number * 1_000_000)
