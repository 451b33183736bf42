"""consume: run blocking code that reads a file, and feed it from an async source."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._core import SpoolBrokenError
from .._core._loop import NoThreadError
from ._current import current_loop
from ._racing import race
from ._reader import WINDOW, SpoolReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")


async def consume(
    source: AsyncIterable[Buffer], function: Callable[[SpoolReader], T], *, window: int = WINDOW, limiter: Any = None
) -> T:
    """Run a blocking function in a worker thread, and let it read what an async source gives.

    ::

        async def upload(request):  # of Starlette
            count = await trio_spool.uploads.consume(request.stream(), import_rows)

        def import_rows(file):  # blocking code
            return sum(1 for row in csv.reader(io.TextIOWrapper(file, newline="")))

    This works on Trio and on asyncio. The source is read at the speed of the function, and no further than `window`. If the
    function returns early, the rest of the source is left unread. If this is cancelled, the function's next read raises
    `SpoolBrokenError`, and `consume` waits until the function has ended, since a thread cannot be interrupted.

    Args:
        source: Gives bytes-like chunks. If it has an `aclose`, that is called at the end.
        function: Takes a `SpoolReader`, a binary file that is open for reading.
        window: The source waits while this many bytes have come and not been read.
        limiter: Limits how many such functions run at the same time, a limiter as `open_spool` takes it. By default, functions
            that read and functions that write share a limiter of 64.

    Returns:
        What the function returns.

    Raises:
        Exception: What the function raises, also if `consume` is cancelled, except for the `SpoolBrokenError` of a read that this
            stopped. If the source raises, the function's reads raise `SpoolBrokenError`, and once the function has ended,
            `consume` raises the error of the source.
    """
    consumption = _Consumption(function, SpoolReader(window=window), limiter)
    try:
        async with consumption.loop.beside(consumption.run):
            try:
                await race(consumption.ended.wait, lambda: consumption.feed(source))
            finally:
                consumption.stop()
    except consumption.loop.cancelled:
        consumption.raise_if_not_stopped()
        raise
    finally:
        aclose = getattr(source, "aclose", None)
        if aclose is not None:
            await aclose()
    return consumption.result()


class _Consumption(Generic[T]):
    """One call of `consume`: the function in its thread, and beside it the task that feeds."""

    def __init__(self, function: Callable[[SpoolReader], T], reader: SpoolReader, limiter: Any) -> None:
        self.loop = current_loop()
        self.ended = self.loop.event()
        self._function = function
        self._reader = reader
        self._threads = self.loop.threads("functions", limiter)
        self._results: list[T] = []
        self._failure: BaseException | None = None
        self._source_failure: Exception | None = None

    async def run(self) -> None:
        """Run the function in a worker thread. Its error is kept for `result`."""
        context = contextvars.copy_context()
        try:
            self._results.append(await self._threads.run(lambda: context.run(self._run_in_thread)))
        except BaseException as exc:
            self._failure = exc
        self.ended.set()

    def _run_in_thread(self) -> T:
        with self._reader as reader:  # closing it stops the task that feeds
            return self._function(reader)

    async def feed(self, source: AsyncIterable[Buffer]) -> None:
        """Feed the reader until the source or the function has ended."""
        try:
            async for chunk in source:
                await self._reader.feed(chunk)
            self._reader.feed_eof()
        except SpoolBrokenError as exc:
            if not self._reader.abandoned:  # it comes from the source
                self._source_failed(exc)
        except Exception as exc:
            self._source_failed(exc)

    def _source_failed(self, error: Exception) -> None:
        self._source_failure = error
        self._reader.break_off(error)

    def stop(self) -> None:
        """Wake the function if it still reads, and start it no more if it waits for a thread."""
        self._threads.give_up()
        self._reader.break_off(RuntimeError("consume was cancelled"))

    def raise_if_not_stopped(self) -> None:
        """Raise the error of a function that ended otherwise than by being stopped: a cancellation must not hide it."""
        if self._failure is not None and not isinstance(self._failure, (SpoolBrokenError, NoThreadError)):
            raise self._failure

    def result(self) -> T:
        """Return or raise what came of it. The function must have ended."""
        failure = self._failure
        if self._source_failure is not None and (failure is None or isinstance(failure, SpoolBrokenError)):
            failure = self._source_failure
        if failure is not None:
            raise failure
        return self._results[0]
