"""Producers: the code that runs in a worker thread, and the task that gives it its turns."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, Union

from ._errors import SpoolBrokenError
from ._handoff import Handoff
from ._loop import NoThreadError
from ._workers import is_cancellation
from ._writer import SpoolWriter

Fragment = Union[bytes, bytearray, memoryview]
Producer = Union[Iterable[Fragment], Callable[[SpoolWriter], object]]


class _Turns(Protocol):
    """A producer in the form that its driver runs. Each method runs in a worker thread.

    Attributes:
        open: Whether the producer must be closed if it gets no further turn.
    """

    open: bool

    def turn_in_thread(self, handoff: Handoff) -> bool:
        """Run one turn. Return False if the producer has ended and is closed, True if it gives its thread back for now."""
        ...

    def close_in_thread(self) -> None:
        """Close a producer that has not ended and gets no further turn."""
        ...


class _IterableTurns:
    """The turns of an iterable of fragments. It pauses by returning, so that a full window holds no thread.

    All turns run in one context, so that a context variable or the precision of `decimal`, once set, is still set in the next turn.
    """

    def __init__(self, iterable: Iterable[Fragment]) -> None:
        self._iterable = iterable
        # An iterator such as a file is closed even if it never gets a turn.
        self._iterator: Iterator[Fragment] | None = iterable if isinstance(iterable, Iterator) else None
        self._context: contextvars.Context | None = None
        self.open = hasattr(self._iterator, "close")

    def turn_in_thread(self, handoff: Handoff) -> bool:
        if self._context is None:
            self._context = contextvars.copy_context()
        return self._context.run(self._turn_in_context, handoff)

    def _turn_in_context(self, handoff: Handoff) -> bool:
        self.open = False
        try:
            if self._iterator is None:
                self._iterator = iter(self._iterable)
            self.open = handoff.spool_in_thread(self._iterator)
            if self.open and handoff.closing:
                handoff.stopped = True
                self.open = False
        finally:
            if not self.open:
                self._close()
        return self.open

    def close_in_thread(self) -> None:
        self.open = False
        if self._context is None:
            self._close()
        else:
            self._context.run(self._close)

    def _close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _FunctionTurns:
    """The one turn of a function that writes. A function can't be suspended: it blocks in `write`."""

    open = False

    def __init__(self, function: Callable[[SpoolWriter], object]) -> None:
        self._function = function

    def turn_in_thread(self, handoff: Handoff) -> bool:
        writer = SpoolWriter(handoff)
        try:
            handoff.run_in_thread(lambda: self._function(writer))
        except SpoolBrokenError:
            if not handoff.stopped:  # the error belongs to another spool
                raise
        finally:
            writer.close()
        return False

    def close_in_thread(self) -> None:
        pass


def check_producer(producer: object) -> None:
    """Check that an object can be a producer.

    Raises:
        TypeError: It is neither an iterable of fragments nor a function.
    """
    if isinstance(producer, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"a producer emits fragments, but this is a single fragment: {producer!r:.80}. Put it in a list")
    if inspect.iscoroutinefunction(producer) or inspect.isasyncgenfunction(producer) or hasattr(producer, "__aiter__"):
        raise TypeError(f"a producer must be blocking code, since it runs in a thread; this is async: {producer!r}")
    if not isinstance(producer, Iterable) and not callable(producer):
        raise TypeError(f"a producer must be an iterable of fragments or a function that takes a SpoolWriter, not {producer!r}")


async def drive(producer: Producer, handoff: Handoff, limiter: object) -> None:
    """Give a producer its turns until it ends or the receiver leaves, and close it.

    Never raises the producer's exception: the receiver gets that, after the bytes emitted before it. This must not be cancelled,
    since the producer would run on in its thread: call `Handoff.close` instead.
    """
    loop = handoff.loop
    turns: _Turns
    if isinstance(producer, Iterable):
        turns, kind = _IterableTurns(producer), "iterables"
    else:
        turns, kind = _FunctionTurns(producer), "functions"
    failure: BaseException | None = None
    threads = loop.threads(kind, limiter)
    handoff.give_up = threads.give_up
    if handoff.closing:
        threads.give_up()
    with loop.streaming():
        try:
            while True:
                try:
                    paused = await threads.run(partial(turns.turn_in_thread, handoff))
                finally:
                    handoff.working = False
                if not paused or handoff.closing:
                    break
                await handoff.wait_room()
        except BaseException as exc:
            if isinstance(exc, NoThreadError) or is_cancellation(exc, loop.cancelled):
                # The hand-over was closed while the producer waited for a thread, or the producer asked Trio itself whether it
                # was cancelled.
                handoff.stopped = True
            else:
                failure = exc
    if turns.open:
        handoff.stopped = True
        try:
            await loop.threads("closing", None).run(turns.close_in_thread)
        except BaseException as exc:
            failure = exc
    handoff.finish(failure)
