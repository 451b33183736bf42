"""open_spool: the output of blocking code in a worker thread, as a channel of batches."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import trio

from ._driving import drive
from ._handoff import Handoff
from ._limits import SpoolLimits
from ._producer import Producer, prepare
from ._statistics import SpoolStatistics
from ._trio import trio_loop
from ._turns import Turns
from ._workers import raise_the_one

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Spool(AbstractAsyncContextManager["trio.MemoryReceiveChannel[bytes]", "bool | None"]):
    """The context manager that `open_spool` returns. Entering it starts the producer."""

    def __init__(self, turns: Turns, limits: SpoolLimits, limiter: trio.CapacityLimiter | None) -> None:
        self._turns: Turns | None = turns
        self._limits = limits
        self._limiter = limiter
        self._handoff: Handoff | None = None

    def statistics(self) -> SpoolStatistics:
        """Return the counters of this spool as they are now. They stay readable after the block."""
        return SpoolStatistics() if self._handoff is None else self._handoff.statistics()

    async def __aenter__(self) -> trio.MemoryReceiveChannel[bytes]:
        if self._handoff is not None:
            raise RuntimeError("a spool can be entered only once; call open_spool again for another one")
        self._handoff = Handoff(self._limits, trio_loop())
        self._running = self._run(self._handoff)
        return await self._running.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._running.__aexit__(exc_type, exc, traceback)

    @asynccontextmanager
    async def _run(self, handoff: Handoff) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
        send_channel, receive_channel = trio.open_memory_channel[bytes](0)
        turns, self._turns = self._turns, None
        assert turns is not None
        # Shielded: a receiver that goes on must get everything, or find out that it will not.
        pumping = trio.CancelScope(shield=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drive, turns, handoff, self._limiter)
                nursery.start_soon(_pump, handoff, send_channel, pumping, nursery.cancel_scope)
                del turns
                with receive_channel, handoff.loop.streaming():
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


async def _drive(turns: Turns, handoff: Handoff, limiter: trio.CapacityLimiter | None) -> None:
    with trio.CancelScope(shield=True):
        await drive(turns, handoff, limiter)


async def _pump(
    handoff: Handoff, send_channel: trio.MemorySendChannel[bytes], pumping: trio.CancelScope, block: trio.CancelScope
) -> None:
    """Move each batch into the channel when the receiver asks for it, and raise the producer's exception after the last one."""
    failed = False
    with handoff.loop.streaming(), pumping:
        try:
            while (batch := await handoff.take()) is not None:
                try:
                    send_channel.send_nowait(batch)  # if the receiver waits already, this saves a pass of the scheduler
                except trio.WouldBlock:
                    await send_channel.send(batch)
                handoff.settle(batch)
            if handoff.failure is not None and not handoff.closing:
                # The receiver may still be at work on the last batch, and must not be cancelled in the middle of it. It has
                # finished with that batch when it asks for the next one: an empty batch, which stands for the failure.
                await send_channel.send(b"")
                failed = True
        except trio.BrokenResourceError:
            handoff.close()  # the receiver closed the channel
    if failed:
        block.cancel()  # before closing the channel: a receiver that waits must not take the failure for the end
    send_channel.close()
    if failed and handoff.failure is not None:
        raise handoff.failure


def open_spool(
    producer: Producer,
    *,
    limits: SpoolLimits | None = None,
    limiter: trio.CapacityLimiter | None = None,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool:
    """Run blocking code in worker threads and receive its output in batches.

    ::

        async with trio_spool.open_spool(rows()) as batches:
            async for batch in batches:
                await stream.send_all(batch)

    Entering the block returns a `trio.MemoryReceiveChannel` of `bytes`. A batch is one or more fragments, joined. Batches
    grow only while the receiver is busy; a receiver that waits gets the first fragment at once.

    Leaving the block, normally, by an exception, or by cancellation, stops the producer: an iterator is closed, in a
    worker thread, at its next fragment, and a `write` that waits raises `SpoolBrokenError` at once. The block ends when the
    producer has ended; if the producer is in the middle of a blocking call, the block waits for that: a `stop` function can
    interrupt it. Bytes that were emitted and not yet received are dropped, and a clone of the channel that is still open
    reaches its end.

    Args:
        producer: An iterable of bytes-like fragments, contiguous in memory, usually a generator; or a function that
            takes a `SpoolWriter`. An iterable runs in a worker thread, in turns. When the window is full it gives its
            thread back, and is resumed, perhaps on another thread, once the receiver has caught up. Its context
            variables are kept from turn to turn; use a function for objects that are bound to one thread, such as a
            connection of `sqlite3`. At the end, the iterator is closed if it has a `close`, and so are the iterators that
            nothing else refers to inside of `map`, `itertools.chain` and their like, or of a generator. A binary file is
            read in pieces of at most 64 KiB, as the bytes come, and closed. A function can't be suspended, so it keeps its
            thread, and `write` blocks while the window is full.
        limits: The maximum number of bytes to hold: see `SpoolLimits`.
        limiter: Limits how many producers may have a turn at the same time. By default, all iterables of this Trio run
            share a limiter of 16, and all functions one of 64, since a function that waits for its receiver holds a
            thread.
        stop: A function that has the producer end, such as the `kill` of a child process or ``lambda: queue.put(None)``.
            Called once, in another worker thread, as soon as nobody will read any more, whether the producer is at work,
            paused, or has not begun; not called if the producer has ended by itself. It must not wait for the producer. What the
            producer raises because it was interrupted is dropped; what `stop` raises is an error of closing.
        name: What the log calls the producer, if it has not ended 5 seconds after it was stopped, or has waited 5 seconds
            for a thread. By default, the qualified name of the function or generator.

    Returns:
        An async context manager, which can be entered once. Its `statistics` can be read at any time.

    Raises:
        TypeError: `producer` is neither an iterable nor a function, or `stop` is not a function.
        Exception: The block raises the producer's exception, unwrapped, after every byte emitted before it has been
            received. When the receiver asks for more, it is cancelled, and may get one empty batch first (leave this
            out where an empty batch would mean something, as among the chunks of HTTP). If the block is left
            early, it raises only errors of closing the producer, in a group if there was another exception.
    """
    return Spool(prepare(producer, stop=stop, name=name), limits if limits is not None else SpoolLimits(), limiter)
