"""The bound on a batch, with receivers that fall behind: the bytes that wait for them are handed over in pieces of that size."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool import SpoolLimits, SpoolWriter, open_sender, open_spool
from trio_spool._core.trio._outlet import SLICE

FRAGMENT = 100
WINDOW = 200_000
COUNT = 3 * WINDOW // FRAGMENT
BEHIND = 0.0005  # seconds for which the event loop is kept from taking the next batch


def iterable():
    return (b"x" * FRAGMENT for _ in range(COUNT))


def function(out: SpoolWriter) -> None:
    for fragment in iterable():
        out.write(fragment)


both_kinds = pytest.mark.parametrize("make", [iterable, lambda: function], ids=["iterable", "function"])
many_bounds = pytest.mark.parametrize("batch", [1_000, 3_000, 4_096, 10_000, 30_000, 50_000])


async def window_is_full(high_water: Callable[[], int]) -> None:
    with trio.fail_after(60):
        while high_water() < WINDOW:
            await trio.sleep(0.001)


@many_bounds
@both_kinds
async def test_no_batch_received_exceeds_the_bound(make, batch: int) -> None:
    spool = open_spool(make(), limits=SpoolLimits(window=WINDOW, batch=batch))
    sizes = []
    async with spool as batches:
        await window_is_full(lambda: spool.statistics().high_water)
        async for received in batches:
            sizes.append(len(received))
            time.sleep(BEHIND)  # blocks the event loop, so that the producer gets ahead of it
    assert sum(sizes) == COUNT * FRAGMENT
    assert max(sizes) <= batch + FRAGMENT


class SlowStream(trio.abc.SendStream):
    """Notes the sizes of the writes, and takes the first only once it is let go."""

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.sizes: list[int] = []

    async def send_all(self, data) -> None:
        await self.go_on.wait()
        self.sizes.append(len(data))
        time.sleep(BEHIND)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def joined(sizes: list[int]) -> list[int]:
    """Return the sizes of batches, given those of the slices that the sender cuts them in: only the last of a batch is short."""
    batches = [0]
    for size in sizes:
        batches[-1] += size
        if size < SLICE:
            batches.append(0)
    return batches


@many_bounds
@both_kinds
async def test_no_batch_sent_exceeds_the_bound(make, batch: int) -> None:
    stream = SlowStream()
    async with open_sender(stream, limits=SpoolLimits(window=WINDOW, batch=batch)) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_spool, make())
        await window_is_full(lambda: sender.statistics().spools.high_water)
        stream.go_on.set()
    assert sum(stream.sizes) == COUNT * FRAGMENT
    assert max(joined(stream.sizes)) <= batch + FRAGMENT


async def test_queued_entries_are_joined_up_to_the_bound() -> None:
    stream = SlowStream()
    async with open_sender(stream, limits=SpoolLimits(window=WINDOW, batch=1_000)) as sender:
        sender.send_nowait(b"first")
        await wait_all_tasks_blocked()
        for size in (400, 300, 300, 1, 999, 1, 5_000, 600, 600):
            sender.send_nowait(bytes(size))
        stream.go_on.set()
    assert stream.sizes == [5, 1_000, 1_000, 1, 5_000, 600, 600]
