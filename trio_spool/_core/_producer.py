"""Producers: what can be one, and the task that gives it its turns in worker threads."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from functools import partial
from typing import Union

from ._handoff import Handoff
from ._loop import NoThreadError
from ._turns import FilePieces, FunctionTurns, IterableTurns, Turns
from ._workers import is_cancellation
from ._writer import SpoolWriter

Fragment = Union[bytes, bytearray, memoryview]
Producer = Union[Iterable[Fragment], Callable[[SpoolWriter], object]]


def prepare(producer: Producer) -> Turns:
    """Check a producer, and take it over for `drive`. The caller should drop its own references to the producer.

    Raises:
        TypeError: It is neither an iterable of fragments, a binary file, nor a function.
    """
    if isinstance(producer, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"a producer emits fragments, but this is a single fragment: {producer!r:.80}. Put it in a list")
    if inspect.iscoroutinefunction(producer) or inspect.isasyncgenfunction(producer) or hasattr(producer, "__aiter__"):
        raise TypeError(f"a producer must be blocking code, since it runs in a thread; this is async: {producer!r}")
    if isinstance(producer, io.IOBase) or (hasattr(producer, "read") and hasattr(producer, "readline")):
        if isinstance(producer, io.TextIOBase) or hasattr(producer, "encoding"):
            raise TypeError(f"a producer emits bytes, but this file is open for text: {producer!r}. Open it in binary mode")
        return IterableTurns(FilePieces(producer))
    if isinstance(producer, Iterable):
        return IterableTurns(producer)
    if callable(producer):
        return FunctionTurns(producer)
    raise TypeError(f"a producer must be an iterable of fragments or a function that takes a SpoolWriter, not {producer!r}")


async def drive(turns: Turns, handoff: Handoff, limiter: object) -> None:
    """Give a producer, which `prepare` has taken over, its turns until it ends or the receiver leaves, and close it.

    Never raises the producer's exception: the receiver gets that, after the bytes emitted before it. This must not be cancelled,
    since the producer would run on in its thread: call `Handoff.close` instead.
    """
    loop = handoff.loop
    failure: BaseException | None = None
    threads = loop.threads(turns.kind, limiter)
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
    del failure  # its traceback refers to this frame
