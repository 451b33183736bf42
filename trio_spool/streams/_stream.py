"""stream: the output of blocking code as an object, which needs no block."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from .._core import (
    BYTES,
    B,
    Bytes,
    ItemWriter,
    Producer,
    Size,
    SpoolBrokenError,
    SpoolLimits,
    SpoolStatistics,
    Turns,
    close_apart,
    new_handoff,
    prepare,
    usual_limits,
)
from ._host import Host

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from ._running import Running


def find_host() -> Host:
    """Return the `Host` of the loop that runs, Trio's or asyncio's.

    Raises:
        RuntimeError: None runs in this thread.
    """
    if trio.lowlevel.in_trio_task():
        from ._trio import trio_host

        return trio_host()
    from ._asyncio import asyncio_host

    try:
        return asyncio_host()
    except RuntimeError:
        raise RuntimeError("a stream must be read by a task of Trio or asyncio, and neither runs in this thread") from None


# What a producer of items emits.
T = TypeVar("T")


class Stream(AsyncIterator[B]):
    """What `stream` returns: an async iterator of batches, `bytes` or lists of items."""

    _turns: Turns | None = None  # until the producer is started or closed
    _running: Running[B] | None = None
    _stopped = False
    _complete = False

    def __init__(self, turns: Turns, limits: SpoolLimits, limiter: object, size: Size | Bytes | None = BYTES) -> None:
        self._turns = turns
        self._limits = limits
        self._limiter = limiter
        self._size = size

    def __aiter__(self) -> Stream[B]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> B:
        if self._complete:
            raise StopAsyncIteration
        if self._stopped:
            raise SpoolBrokenError("this stream was closed before its producer's end, so there is no next batch")
        if self._running is None:
            self._start()
            assert self._running is not None
        try:
            return await self._running.receive()
        except trio.EndOfChannel:
            self._complete = True
            raise StopAsyncIteration from None

    def _start(self) -> None:
        from ._running import Running

        host = find_host()
        host.loop.check_limiter(self._limiter)
        turns = self._take_turns()
        assert turns is not None
        handoff = new_handoff(self._limits, host.loop, self._size)
        self._running = Running(host, turns, handoff, self._limiter)

    async def __aenter__(self) -> Stream[B]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except Exception as error:
            assert self._running is not None
            loop = self._running.host.loop
            if isinstance(exc, loop.cancelled):
                loop.cancel_again()
            elif exc is not None:  # an interrupt, for instance, must not get lost behind it
                raise BaseExceptionGroup("the block of a stream failed, and so did closing its producer", [exc, error]) from None
            raise

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Stop the producer, and return when it has ended: its ``finally`` has run, in a worker thread.

        If this is cancelled, it still waits for that.

        Raises:
            Exception: The producer raised it when it was closed.
        """
        if self._running is None and not self._stopped:
            self._start()  # a producer that has not begun gets no turn, but a file is closed, and a stop function called
        self._stopped = True
        if self._running is not None:
            await self._running.aclose()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Stop the producer, and return at once. May be called in any thread."""
        self._stopped = True
        if self._running is not None:
            self._running.stop_in_thread()
        elif (turns := self._take_turns()) is not None:
            close_apart(turns)

    def __del__(self) -> None:
        if self._running is None or not self._running.ended.is_set():
            self.close()

    def _take_turns(self) -> Turns | None:
        turns, self._turns = self._turns, None
        return turns

    def statistics(self) -> SpoolStatistics:
        """Return the counters of this stream as they are now. They stay readable after its end."""
        return SpoolStatistics() if self._running is None else self._running.handoff.statistics()


@overload
def stream(
    producer: Producer,
    *,
    limits: SpoolLimits | None = None,
    limiter: object = None,
    size: Bytes = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Stream[bytes]: ...


@overload
def stream(
    producer: Iterable[T] | Callable[[ItemWriter], object],
    *,
    limits: SpoolLimits | None = None,
    limiter: object = None,
    size: Callable[[T], int] | None,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Stream[list[T]]: ...


def stream(
    producer: Any,
    *,
    limits: SpoolLimits | None = None,
    limiter: object = None,
    size: Callable[[Any], int] | Bytes | None = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Stream[Any]:
    """Return the output of blocking code, which runs in worker threads, as an async iterator of batches.

    ::

        return StreamingResponse(trio_spool.stream(rows()))

    This is `open_spool` without a block, for frameworks that take an async iterator. It works on Trio and on asyncio: the first
    time it is asked for a batch, it starts the producer in the loop that runs, with the context variables of the task that asks.

    The producer is stopped when `aclose` or `close` is called, when the stream is dropped, and when the task that reads it ends
    before it: if that task was cancelled, or has asked more than once. (A task that asks once and ends is taken for one that was
    made for one batch, as ``create_task(anext(stream))`` makes it.) The iteration ends only if everything was received and the
    producer has ended without an error. A stream that was stopped raises `SpoolBrokenError` when it is asked again.

    An error of closing the producer is raised by `aclose`. If nobody waits in `aclose`, it goes to the exception handler of the
    asyncio loop, or to the logger ``trio_spool`` on Trio.

    Args:
        producer: As for `open_spool`.
        limits: The maximum number of bytes to hold: see `SpoolLimits`.
        limiter: Limits how many producers may have a turn at the same time: a `trio.CapacityLimiter` on Trio, an
            `asyncio.Semaphore` on asyncio. By default, streams share the limiters of the loop's spools.
        size: As for `open_spool`.
        stop: As for `open_spool`.
        name: As for `open_spool`.

    Raises:
        TypeError: `producer` is neither an iterable nor a function, or `stop` is not a function.
    """
    turns = prepare(producer, stop=stop, name=name, size=size)
    return Stream(turns, limits if limits is not None else usual_limits(size), limiter, size)


async def wait_closed() -> None:
    """Wait until all streams of this loop have ended, with the ``finally`` of their producers.

    A server calls this when it shuts down, after it has closed its connections. It stops no stream by itself.
    """
    running = find_host().running
    while running:
        await next(iter(running)).wait()
