"""What a service does by itself, again and again: it ends what is too old, and looks at what takes too long."""

from __future__ import annotations

from typing import Final

import trio
from trio_util import periodic

from .data import Bucket
from .shared import Shared

# Connections that are looked at for limits of time without a break: less than half a millisecond of the event loop.
_AT_ONCE: Final = 64

SLOW_WRITE: Final = "a disk does not answer, and writes wait for it"


async def keep_house(shared: Shared) -> None:
    """Do all of it, for ever."""
    async with trio.open_nursery() as nursery:
        for chore in (_end_old, _keep_time, _look_at_incidents, _sweep):
            nursery.start_soon(chore, shared)
        nursery.start_soon(shared.waits.look)
        nursery.start_soon(shared.lag.measure)


async def _end_old(shared: Shared) -> None:
    """End the scans and remove the snapshots that have become too old."""
    async for _ in periodic(shared.tuning.housekeeping):
        shared.scans.end_old()
        for bucket in shared.buckets:
            _look_at(bucket, shared)
        await shared.allocator.tidy()
        if idle := shared.snapshots.take_idle():
            await shared.snapshots.remove(idle)


def _look_at(bucket: Bucket, shared: Shared) -> None:
    """Log what a bucket has not kept up with."""
    incidents, name = shared.incidents, bucket.name
    if ended := bucket.take_ended():
        hint = "read scans faster, or raise --max-held-size"
        shared.limits.hit("max-held-size", ended)
        incidents.report("scans ended: they kept too much on disk", place=name, bucket=name, ended=ended, hint=hint)
    busy = bucket.engine.busy_seconds
    if busy >= shared.tuning.slow_write:
        # Nothing else can be done: a thread that waits for a disk can't be stopped, and what it writes may still get there.
        incidents.report(SLOW_WRITE, place=name, level="error", bucket=name, seconds=round(busy, 1))


async def _keep_time(shared: Shared) -> None:
    """End the connections that take too long, and those that hold too much."""
    while True:
        await trio.sleep(shared.timekeeper.interval(shared.tuning.housekeeping))
        for number, connection in enumerate(shared.connections, 1):
            shared.timekeeper.look(connection)
            if not number % _AT_ONCE:
                await trio.lowlevel.checkpoint()
        shared.buffers.look_if_much()


async def _look_at_incidents(shared: Shared) -> None:
    """Log which incidents are over or go on."""
    async for _ in periodic(shared.tuning.housekeeping):
        shared.incidents.look()
        shared.slow.look()


async def _sweep(shared: Shared) -> None:
    """Remove the items of dropped collections."""
    async for _ in periodic(shared.tuning.housekeeping):
        for bucket in shared.buckets:
            await bucket.sweep(shared.tuning.sweep)
