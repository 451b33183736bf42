"""First fragment: a producer that emits every 10 ms; the time from emitting to receiving."""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Iterator

import trio
from report import Row

from trio_spool import open_spool

_STAMP = struct.Struct(">d")


def emit(count: int) -> Iterator[bytes]:
    """Yield the time, every 10 ms."""
    for _ in range(count):
        time.sleep(0.01)
        yield _STAMP.pack(time.perf_counter())


async def by_spool(count: int) -> list[float]:
    """Receive from a spool."""
    latencies = []
    async with open_spool(emit(count)) as batches:
        async for batch in batches:
            latencies.append(time.perf_counter() - _STAMP.unpack_from(batch)[0])
    return latencies


async def by_from_thread(count: int) -> list[float]:
    """Receive from a channel that a thread sends to by `trio.from_thread.run`."""
    send_channel, receive_channel = trio.open_memory_channel[bytes](64)
    latencies = []

    def work() -> None:
        for fragment in emit(count):
            trio.from_thread.run(send_channel.send, fragment)

    async def produce() -> None:
        with send_channel:
            await trio.to_thread.run_sync(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async for fragment in receive_channel:
            latencies.append(time.perf_counter() - _STAMP.unpack(fragment)[0])
    return latencies


def percentile(values: list[float], fraction: float) -> float:
    """Return the value that a fraction of them is below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * fraction))]


def run(quick: bool) -> list[Row]:
    """Measure both, in turn."""
    rounds, count = (3, 100) if quick else (5, 300)
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, function in (("from_thread.run (b)", by_from_thread), ("open_spool", by_spool)):
            latencies = trio.run(function, count)
            for case, fraction in (("p50", 0.5), ("p99", 0.99)):
                figures.setdefault((case, name), []).append(percentile(latencies, fraction) * 1000)
    rows = []
    for case in ("p50", "p99"):
        reference = figures[case, "from_thread.run (b)"]
        rows.append(Row("first fragment", case, "from_thread.run (b)", statistics.median(reference), "ms"))
        ours = figures[case, "open_spool"]
        ratio = statistics.median(ours) / statistics.median(reference)
        rows.append(Row("first fragment", case, "open_spool", statistics.median(ours), "ms", ratio, "≤ 1.2"))
    return rows
