"""open_spool: the output of blocking code in a worker thread, as a channel of batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, overload

import trio

from .._limits import SpoolLimits
from .._raising import is_only, raise_closing_error
from ..handover import BYTES, B, Bytes, Handoff, ItemWriter, usual_limits
from ..producers import Producer, SpoolBlock, drive, prepare
from ._channel import BatchChannel, open_channel
from ._loop import trio_loop
from ._tasks import check_left_by, outlast, start_until_run_ends

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# What a producer of items emits.
T = TypeVar("T")


class Spool(SpoolBlock, AbstractAsyncContextManager["BatchChannel[B]", None]):
    """The context manager that `open_spool` returns. Entering it starts the producer."""

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> BatchChannel[B]:
        loop = trio_loop()
        turns, handoff = self._open(loop)
        self._entered_by = trio.lowlevel.current_task()
        self._streaming = loop.streaming()
        self._streaming.__enter__()
        self._channel = open_channel(handoff)
        self._ended = start_until_run_ends(partial(drive, turns, handoff, self._limiter), handoff.close)
        return self._channel

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        handoff = self._handoff
        assert handoff is not None
        self._channel.close()
        handoff.close()
        self._streaming.__exit__(None, None, None)
        try:
            await outlast(self._ended)
        finally:
            handoff.discard()
        check_left_by(self._entered_by, "a spool", "The producer has been closed. Use trio_spool.stream there: it needs no block")
        self._raise_unwrapped(handoff, exc)

    def _raise_unwrapped(self, handoff: Handoff, exc: BaseException | None) -> None:
        """Raise an error of closing the producer, or the producer's exception if it comes in the group of a nursery."""
        failure = handoff.failure
        try:
            if handoff.closing_error is not None:
                raise_closing_error(handoff.closing_error, exc, handoff.loop)
            if failure is not None and isinstance(exc, BaseExceptionGroup) and is_only(exc, failure):
                raise failure
        finally:
            del exc, failure  # their tracebacks hold this frame


@overload
def open_spool(
    producer: Producer,
    *,
    limits: SpoolLimits | None = None,
    limiter: trio.CapacityLimiter | None = None,
    size: Bytes = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[bytes]: ...


@overload
def open_spool(
    producer: Iterable[T] | Callable[[ItemWriter], object],
    *,
    limits: SpoolLimits | None = None,
    limiter: trio.CapacityLimiter | None = None,
    size: Callable[[T], int] | None,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[list[T]]: ...


def open_spool(
    producer: Any,
    *,
    limits: SpoolLimits | None = None,
    limiter: trio.CapacityLimiter | None = None,
    size: Callable[[Any], int] | Bytes | None = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[Any]:
    """Run blocking code in worker threads and receive its output in batches.

    ::

        async with trio_spool.open_spool(rows()) as batches:
            async for batch in batches:
                await stream.send_all(batch)

    Entering the block returns a `BatchChannel`, a `trio.abc.ReceiveChannel` of `bytes`. A batch is one or more fragments,
    joined. Batches grow only while the receiver is busy; a receiver that waits gets the first fragment at once. The channel
    raises the producer's exception, unwrapped, where the next batch would be, after every byte emitted before it.

    Leaving the block, normally, by an exception, or by cancellation, stops the producer: an iterator is closed, in a
    worker thread, at its next fragment, and a `write` that waits raises `SpoolBrokenError` at once. The block ends when the
    producer has ended; if the producer is in the middle of a blocking call, the block waits for that: a `stop` function can
    interrupt it. Bytes that were emitted and not yet received are dropped, and a clone of the channel that is still open
    raises `SpoolBrokenError`.

    The block must be left by the task that entered it. An async generator that yields inside of it, and that a framework
    drops when a client leaves, is closed by another task: this stops the producer, and raises RuntimeError. `stream` needs
    no block.

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
        size: Have the producer emit any objects, and receive them as lists. A function that takes an item and returns what it
            weighs, an int; the limits are in the same unit. None lets each item count 1, with a window of 4,096 items and batches
            of 1,024 unless `limits` are given. An item that weighs nothing counts 1. A function that produces is given an object
            with a method `put` in place of a file. By default, fragments are bytes, and a batch is these, joined.
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
        Exception: If the block is left early, it raises errors of closing the producer, in a group if there was another
            exception. If tasks of a nursery inside of the block receive, the block raises the producer's exception without
            the nursery's group.
    """
    turns = prepare(producer, stop=stop, name=name, size=size)
    return Spool(turns, limits if limits is not None else usual_limits(size), limiter, size)
