"""Producers: what runs in a worker thread, and the task that gives it its turns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Union

import trio

from ._errors import SpoolBrokenError
from ._handoff import Handoff
from ._manners import streaming
from ._writer import SpoolWriter

Fragment = Union[bytes, bytearray, memoryview]
Producer = Union[Iterable[Fragment], Callable[[SpoolWriter], object]]


class _Turns(Protocol):
    """A producer in the form that its driver runs: each method in a worker thread."""

    def turn_in_thread(self, handoff: Handoff) -> bool:
        """Run until the producer has ended and is closed (False), or gives its thread back for now (True)."""
        ...

    def close_in_thread(self) -> None:
        """Close a producer that gave its thread back: it has no further turn."""
        ...


class _IterableTurns:
    """An iterable of fragments. It pauses by returning, so that a full window holds no thread."""

    def __init__(self, iterable: Iterable[Fragment]) -> None:
        self._iterable = iterable
        self._iterator: Iterator[Fragment] | None = None

    def turn_in_thread(self, handoff: Handoff) -> bool:
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        paused = False
        try:
            paused = handoff.spool_in_thread(self._iterator)
            if paused and handoff.closing:
                handoff.stopped = True
                paused = False
        finally:
            if not paused:
                self.close_in_thread()
        return paused

    def close_in_thread(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _FunctionTurns:
    """A function that writes. It can't be suspended: it has one turn, and blocks in `write`."""

    def __init__(self, function: Callable[[SpoolWriter], object]) -> None:
        self._function = function

    def turn_in_thread(self, handoff: Handoff) -> bool:
        writer = SpoolWriter(handoff)
        try:
            handoff.run_in_thread(lambda: self._function(writer))
        except SpoolBrokenError:
            if not handoff.stopped:  # it is some other spool's
                raise
        finally:
            writer.close()
        return False

    def close_in_thread(self) -> None:
        pass


def check_producer(producer: object) -> None:
    """Refuse what can't be a producer.

    Raises:
        TypeError: It is neither an iterable of fragments nor a function.
    """
    if isinstance(producer, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"a producer emits fragments; this is one: {producer!r:.80}. Put it in a list")
    if inspect.iscoroutinefunction(producer) or inspect.isasyncgenfunction(producer) or hasattr(producer, "__aiter__"):
        raise TypeError(f"a producer is blocking code that runs in a thread; this is async: {producer!r}")
    if not isinstance(producer, Iterable) and not callable(producer):
        raise TypeError(f"a producer is an iterable of fragments or a function that takes a SpoolWriter, not {producer!r}")


async def drive(producer: Producer, handoff: Handoff, limiter: trio.CapacityLimiter) -> None:
    """Give a producer its turns until it ends or the receiver leaves, and close it.

    Never raises what the producer raised: the receiver gets that, in its place. Cancelling does not stop it,
    since the producer runs on in its thread all the same: `Handoff.close` does.
    """
    turns: _Turns = _IterableTurns(producer) if isinstance(producer, Iterable) else _FunctionTurns(producer)
    failure: BaseException | None = None
    paused = False
    with streaming(), handoff.driving:
        try:
            while True:
                try:
                    paused = await trio.to_thread.run_sync(turns.turn_in_thread, handoff, limiter=limiter)
                finally:
                    handoff.working = False
                if not paused:
                    break
                await handoff.wait_room()
        except trio.Cancelled:
            # Closed while it waited for room or for a thread, or the producer itself asked whether it was.
            handoff.stopped = True
        except BaseException as exc:
            paused = False
            failure = exc
    if paused:
        handoff.stopped = True
        with trio.CancelScope(shield=True):
            try:
                # A limiter of its own: the tokens of the others may all be held by writers that wait for their peers.
                await trio.to_thread.run_sync(turns.close_in_thread, limiter=trio.CapacityLimiter(1))
            except BaseException as exc:
                failure = exc
    handoff.finish(failure)
