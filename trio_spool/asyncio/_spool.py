"""open_spool for asyncio: the output of blocking code in a worker thread, as an iterator of batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar, overload

from .._core import (
    BYTES,
    B,
    Batches,
    Bytes,
    ItemWriter,
    Producer,
    SpoolBlock,
    SpoolLimits,
    drive,
    prepare,
    raise_closing_error,
    usual_limits,
)
from ._loop import asyncio_loop
from ._threads import Limiter

# What a producer of items emits.
T = TypeVar("T")


class Spool(SpoolBlock, AbstractAsyncContextManager["Batches[B]", None]):
    """The context manager that `open_spool` returns. Entering it starts the producer."""

    async def __aenter__(self) -> Batches[B]:
        loop = asyncio_loop()
        turns, handoff = self._open(loop)
        self._driving = loop.beside(drive, turns, handoff, self._limiter)
        await self._driving.__aenter__()
        return Batches(handoff)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        handoff = self._handoff
        assert handoff is not None
        handoff.close()
        try:
            await self._driving.__aexit__(exc_type, exc, traceback)
        except asyncio.CancelledError as cancelled:
            exc = exc if exc is not None else cancelled
            if handoff.closing_error is None:
                raise
        finally:
            handoff.discard()
        if handoff.closing_error is not None:
            raise_closing_error(handoff.closing_error, exc, handoff.loop)


@overload
def open_spool(
    producer: Producer,
    *,
    limits: SpoolLimits | None = None,
    limiter: Limiter | None = None,
    size: Bytes = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[bytes]: ...


@overload
def open_spool(
    producer: Iterable[T] | Callable[[ItemWriter], object],
    *,
    limits: SpoolLimits | None = None,
    limiter: Limiter | None = None,
    size: Callable[[T], int] | None,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[list[T]]: ...


def open_spool(
    producer: Any,
    *,
    limits: SpoolLimits | None = None,
    limiter: Limiter | None = None,
    size: Callable[[Any], int] | Bytes | None = BYTES,
    stop: Callable[[], object] | None = None,
    name: str | None = None,
) -> Spool[Any]:
    """Run blocking code in worker threads and receive its output in batches, on asyncio.

    ::

        async with trio_spool.asyncio.open_spool(rows()) as batches:
            async for batch in batches:
                writer.write(batch)
                await writer.drain()

    This is `trio_spool.open_spool` for asyncio, uvloop, and anyio over either, with the same parameters and promises. These differ:

    - Entering the block returns an async iterator of batches, which also has `receive`.
    - It raises the producer's exception where the next batch is asked for, after the last byte. Nothing is cancelled.
    - The block may be left by another task than the one that entered it.
    - If the block is cancelled, it ends after its producer, and then raises `CancelledError`: `asyncio.timeout`, `asyncio.wait_for`
      and `asyncio.TaskGroup` work as with any other code.

    Args:
        producer: As for `trio_spool.open_spool`.
        limits: The maximum number of bytes to hold: see `SpoolLimits`.
        limiter: Limits how many producers may have a turn at the same time: an `asyncio.Semaphore`, or another object with the
            same methods ``acquire`` and ``release``. By default, all iterables of this loop share one of 16 places, and all
            functions one of 64.
        size: As for `trio_spool.open_spool`.
        stop: As for `trio_spool.open_spool`.
        name: As for `trio_spool.open_spool`.

    Returns:
        An async context manager, which can be entered once. Its `statistics` can be read at any time.

    Raises:
        TypeError: `producer` is neither an iterable nor a function, or `stop` is not a function.
        Exception: An error of closing the producer, if the block is left early: in a group if the block raised another exception.
    """
    turns = prepare(producer, stop=stop, name=name, size=size)
    return Spool(turns, limits if limits is not None else usual_limits(size), limiter, size)
