"""open_spool: what blocking code produces in a worker thread, as a channel of batches."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import trio

from ._handoff import Handoff
from ._limits import SpoolLimits
from ._manners import streaming
from ._producer import Producer, check_producer, drive
from ._statistics import SpoolStatistics
from ._workers import raise_the_one

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Spool(AbstractAsyncContextManager["trio.MemoryReceiveChannel[bytes]", "bool | None"]):
    """What `open_spool` returns: enter it to start the producer."""

    def __init__(self, producer: Producer, limits: SpoolLimits, limiter: trio.CapacityLimiter | None) -> None:
        check_producer(producer)
        self._producer = producer
        self._limits = limits
        self._limiter = limiter
        self._handoff: Handoff | None = None

    def statistics(self) -> SpoolStatistics:
        """Return the counters of this spool as they are now; they stay readable after the block."""
        return SpoolStatistics() if self._handoff is None else self._handoff.statistics()

    async def __aenter__(self) -> trio.MemoryReceiveChannel[bytes]:
        if self._handoff is not None:
            raise RuntimeError("a spool is entered once; call open_spool again for another")
        self._handoff = Handoff(self._limits)
        self._running = self._run(self._handoff)
        return await self._running.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._running.__aexit__(exc_type, exc, traceback)

    @asynccontextmanager
    async def _run(self, handoff: Handoff) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
        send_channel, receive_channel = trio.open_memory_channel[bytes](0)
        producer, self._producer = self._producer, ()
        # Shielded: as long as the receiver goes on, it is to get everything, or to find out that it will not.
        pumping = trio.CancelScope(shield=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive, producer, handoff, self._limiter)
                nursery.start_soon(_pump, handoff, send_channel, pumping, nursery.cancel_scope)
                del producer
                with receive_channel, streaming():
                    try:
                        yield receive_channel
                    finally:
                        handoff.close()
                        pumping.cancel()
        except BaseExceptionGroup as group:
            raise_the_one(group, handoff.closing_error)
        finally:
            handoff.discard()
        if handoff.closing_error is not None:
            raise handoff.closing_error


async def _pump(
    handoff: Handoff, send_channel: trio.MemorySendChannel[bytes], pumping: trio.CancelScope, block: trio.CancelScope
) -> None:
    """Move batches into the channel, each when the receiver asks for it; then raise what the producer raised."""
    failed = False
    with streaming(), pumping:
        try:
            while (batch := await handoff.take()) is not None:
                try:
                    send_channel.send_nowait(batch)  # if the receiver waits: saves a pass of the scheduler
                except trio.WouldBlock:
                    await send_channel.send(batch)
                handoff.settle(batch)
            if handoff.failure is not None and not handoff.closing:
                # The receiver may still be at work on the last batch, and must not be cancelled in the middle of it. It
                # is done with that batch when it asks for the next: this empty one, which stands for the failure.
                await send_channel.send(b"")
                failed = True
        except trio.BrokenResourceError:
            handoff.close()  # the receiver closed the channel
    if failed:
        block.cancel()  # first: a receiver that waits must not take the failure for the end
    send_channel.close()
    if failed and handoff.failure is not None:
        raise handoff.failure


def open_spool(producer: Producer, *, limits: SpoolLimits | None = None, limiter: trio.CapacityLimiter | None = None) -> Spool:
    """Run blocking code in worker threads and receive, in batches, what it produces.

    ::

        async with trio_spool.open_spool(rows()) as batches:
            async for batch in batches:
                await stream.send_all(batch)

    The block gives a `trio.MemoryReceiveChannel` of `bytes`. A batch is one or more fragments, joined; batches
    grow only while the receiver is busy, and a receiver that waits gets the first fragment at once.

    Args:
        producer: An iterable of bytes-like fragments, contiguous in memory; usually a generator. It runs in a worker
            thread, in turns. When the window is full it gives its thread back, and is resumed, perhaps on another
            thread, once the receiver has caught up. Its context variables stay with it; what belongs to one thread, as
            a connection of `sqlite3` does unless it is told otherwise, needs a function. Its iterator is closed at
            the end, if it can be. Or a function, which is given a `SpoolWriter`: it can't be suspended, so it keeps
            its thread, and `write` blocks.
        limits: How many bytes may be held: see `SpoolLimits`.
        limiter: How many producers may have a turn at the same time. By default one for all iterables of this Trio
            run, 16, and another for all functions, 64, since those that wait for their receivers hold a thread each.

    Returns:
        An async context manager, to be entered once. Its `statistics` may be read at any time.

    Raises:
        TypeError: `producer` is neither kind.
        Exception: The block raises what the producer raised, unwrapped, after every byte emitted before it has
            been received: the receiver, asking for more, may get an empty batch first (leave it out where it would mean
            something, as among the chunks of HTTP), and is cancelled. Leaving early
            raises only what went wrong while the producer was being closed, in a group if there was something else.

    Leaving the block, normally, by an exception, or by cancellation, stops the producer: an iterator is closed, in a
    worker thread, at its next fragment; a `write` that waits raises `SpoolBrokenError` at once. The block ends when the
    producer has ended, so a producer that is in the middle of something blocking is waited for. What was emitted
    and not yet received is dropped; a clone of the channel that is still open comes to its end.
    """
    return Spool(producer, limits if limits is not None else SpoolLimits(), limiter)
