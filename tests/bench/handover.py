"""Hand-over: fragments from a worker thread to a loopback socket that another process reads.

(a) is the best plain thread: its own socket, and fragments of the same generator kept in a list and joined at 64 KiB.
"""

from __future__ import annotations

import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from time import perf_counter

import aiologic
import trio
from peer import Reader
from report import Row, interleaved, median_ratio

from trio_spool import SpoolWriter, open_sender, open_spool

Generate = Callable[[int], Iterator[bytes]]


def constant(size: int) -> Generate:
    """Return a generator function of fragments of one size."""
    fragment = b"x" * size

    def generate(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield fragment

    return generate


def csv_rows(count: int) -> Iterator[bytes]:
    """Make rows of a CSV file, in Python."""
    for number in range(count):
        yield f"{number},user-{number},alice@example.com,{number * 3},some text here,end\r\n".encode()


CASES: dict[str, tuple[Generate, int]] = {
    "100 B": (constant(100), 1_000_000),
    "CSV row": (csv_rows, 500_000),
    "1 kB": (constant(1000), 400_000),
    "4 kB": (constant(4096), 200_000),
    "16 kB": (constant(16384), 60_000),
    "64 kB": (constant(65536), 20_000),
}


# At 1 kB and above, the first number is for `send_spool`, the second for `open_spool`.
SMALL, LARGE = {"iterable": "≥ 1.0", "writer": "≥ 0.7"}, {"iterable": "≥ 1.3 / 1.2", "writer": "≥ 1.0"}
TARGETS = {case: SMALL if case in ("100 B", "CSV row") else LARGE for case in CASES}


def plain_thread(generate: Generate, count: int, port: int) -> float:
    """Write to a socket from the thread that produces."""

    def work() -> None:
        fragments, size = [], 0
        for fragment in generate(count):
            fragments.append(fragment)
            size += len(fragment)
            if size >= 65536:
                connection.sendall(b"".join(fragments))
                fragments.clear()
                size = 0
        connection.sendall(b"".join(fragments))

    with socket.create_connection(("127.0.0.1", port)) as connection:
        thread = threading.Thread(target=work)
        started = perf_counter()
        thread.start()
        thread.join()
        return perf_counter() - started


Stream = Callable[[trio.SocketStream, Generate, int], object]


def _timed(stream_it: Stream, generate: Generate, count: int, port: int) -> float:
    async def main() -> float:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            started = perf_counter()
            await stream_it(stream, generate, count)  # type: ignore[misc]
            return perf_counter() - started

    return trio.run(main)


async def spool_iterable(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`open_spool` with a generator."""
    async with open_spool(generate(count)) as batches:
        async for batch in batches:
            await stream.send_all(batch)


async def spool_writer(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`open_spool` with a function that writes."""

    def work(out: SpoolWriter) -> None:
        write = out.write
        for fragment in generate(count):
            write(fragment)

    async with open_spool(work) as batches:
        async for batch in batches:
            await stream.send_all(batch)


async def sender_spool(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`Sender.send_spool` with a generator."""
    async with open_sender(stream) as sender:
        await sender.send_spool(generate(count))


async def sender_writer(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`Sender.send_spool` with a function that writes."""

    def work(out: SpoolWriter) -> None:
        write = out.write
        for fragment in generate(count):
            write(fragment)

    async with open_sender(stream) as sender:
        await sender.send_spool(work)


async def from_thread_each(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`trio.from_thread.run` for each fragment."""
    send_channel, receive_channel = trio.open_memory_channel[bytes](64)

    def work() -> None:
        for fragment in generate(count):
            trio.from_thread.run(send_channel.send, fragment)

    async def produce() -> None:
        with send_channel:
            await trio.to_thread.run_sync(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async for fragment in receive_channel:
            await stream.send_all(fragment)


async def to_thread_each(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """`trio.to_thread.run_sync(next, ...)` for each fragment."""
    iterator = generate(count)
    while (fragment := await trio.to_thread.run_sync(next, iterator, None)) is not None:
        await stream.send_all(fragment)


async def aiologic_queue(stream: trio.SocketStream, generate: Generate, count: int) -> None:
    """A thread-safe queue that can be awaited."""
    queue: aiologic.Queue[bytes | None] = aiologic.Queue(64)

    def work() -> None:
        for fragment in generate(count):
            queue.green_put(fragment)
        queue.green_put(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        while (fragment := await queue.async_get()) is not None:
            await stream.send_all(fragment)


def run(quick: bool) -> list[Row]:
    """Measure all of it."""
    rows = []
    runs = 3 if quick else 7
    fast: dict[str, Stream] = {
        "open_spool, iterable": spool_iterable,
        "open_spool, writer": spool_writer,
        "send_spool": sender_spool,
        "send_spool, writer": sender_writer,
    }
    slow: dict[str, Stream] = {
        "from_thread.run each": from_thread_each,
        "to_thread.run_sync(next) each": to_thread_each,
        "aiologic queue": aiologic_queue,
    }
    for case, (generate, count) in CASES.items():
        reader = Reader((len(fast) + 1) * runs)

        def measure(function: Callable[[], float], reader: Reader = reader) -> Callable[[], float]:
            def once() -> float:
                seconds = function()
                reader.total()
                return count / seconds

            return once

        variants = {"plain thread (a)": measure(lambda: plain_thread(generate, count, reader.port))}
        for name, stream_it in fast.items():
            variants[name] = measure(lambda stream_it=stream_it: _timed(stream_it, generate, count, reader.port))
        measured = interleaved(runs, variants)
        reference = measured["plain thread (a)"]
        for name, values in measured.items():
            ratio = None if values is reference else median_ratio(values, reference)
            target = TARGETS[case]["writer" if "writer" in name else "iterable"] if ratio is not None else ""
            rows.append(Row("hand-over", case, name, statistics.median(values), "fragments/s", ratio, target))
        if case == "100 B":
            ours = statistics.median(measured["open_spool, iterable"])
            for name, stream_it in slow.items():
                reader = Reader(1)
                rate = 5000 / _timed(stream_it, generate, 5000, reader.port)
                rows.append(Row("hand-over", f"{case}, iterable against", name, rate, "fragments/s", ours / rate, "≥ 300"))
    return rows
