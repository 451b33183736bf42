"""The turns of a producer: how each kind of producer is run, paused and closed in worker threads."""

from __future__ import annotations

import contextvars
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from .._errors import SpoolBrokenError, SpoolExit
from ..handover import Handoff
from ._closing import close_whole
from ._tracebacks import forget_locals

# The size in bytes of the pieces in which a file is read: what a pipe of Linux holds. Picked, not measured.
PIECE = 64 * 1024


class Turns(ABC):
    """A producer in the form that its driver runs. Worker threads run it, close it, and drop it: nothing of it ends in the loop.

    Attributes:
        kind: The kind of limiter that its threads are taken from by default; see `Loop.threads`.
        name: What the log calls the producer.
        stop: Called in a thread of its own once nobody will read any more, unless the producer has ended.
        sender: The sender of its output, until the producer has ended.
        open: Whether the producer must be closed if it gets no further turn.
    """

    kind: str
    name = ""
    stop: Callable[[], object] | None = None
    sender: object = None
    open = False

    @abstractmethod
    def turn_in_thread(self, handoff: Handoff) -> bool:
        """Run one turn. Return False if the producer has ended and is closed, True if it gives its thread back for now."""

    @abstractmethod
    def close_in_thread(self) -> None:
        """Close a producer that has not ended and gets no further turn."""


# The producer that the current thread runs. What such a thread calls in a loop has the thread's context.
_running: contextvars.ContextVar[Turns | None] = contextvars.ContextVar("trio_spool_running", default=None)


def refuse_own_producer(sender: object) -> None:
    """Raise an error if it is a producer of the sender that calls the sender, since it would wait for its own end.

    Raises:
        RuntimeError: It is.
    """
    running = _running.get()
    if running is not None and running.sender is sender:
        raise RuntimeError(
            f"producer {running.name} called the sender that sends its output, and would wait for its own end; emit the bytes"
        )


class IterableTurns(Turns):
    """The turns of an iterable of fragments. It pauses by returning, so that a full window holds no thread.

    All turns run in one context, so that a context variable or the precision of `decimal`, once set, is still set in the next turn.
    """

    kind = "iterables"

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterable = iterable
        # An iterator is closed even if it never gets a turn.
        self._iterator: Iterator[Any] | None = iterable if isinstance(iterable, Iterator) else None
        self._context: contextvars.Context | None = None
        self.open = self._iterator is not None

    def turn_in_thread(self, handoff: Handoff) -> bool:
        if self._context is None:
            self._context = contextvars.copy_context()
            self._context.run(_running.set, self)
        try:
            return self._context.run(self._turn_in_context, handoff)
        finally:
            if not self.open:
                self._context = None  # it refers to these turns

    def _turn_in_context(self, handoff: Handoff) -> bool:
        self.open = False
        try:
            if self._iterator is None:
                self._iterator = iter(self._iterable)
            self.open = handoff.spool_in_thread(self._iterator)
        except BaseException as exc:
            forget_locals(exc)
            self._close(exc)
            raise
        if self.open and handoff.closing:
            handoff.stopped = True
            self.open = False
        if not self.open:
            self._close()
        return self.open

    def close_in_thread(self) -> None:
        self.open = False
        if self._context is None:
            self._close()
        else:
            context, self._context = self._context, None  # it refers to these turns
            context.run(self._close)

    def _close(self, failure: BaseException | None = None) -> None:
        iterator, self._iterator, self._iterable = self._iterator, None, ()
        try:
            close_whole(iterator, failure)
        finally:
            del iterator, failure  # the traceback of an error would keep them


class FilePieces(Iterator[bytes]):
    """The content of a binary file, in pieces as they come: a pipe's bytes do not wait until there is a full piece of them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        # `read1` makes one system call at most; where there is none, `read` may wait for a full piece.
        self._read: Callable[[int], bytes | None] = getattr(file, "read1", file.read)

    def __next__(self) -> bytes:
        try:
            piece = self._read(PIECE)
        except io.UnsupportedOperation:
            if self._read == self._file.read:
                raise
            self._read = self._file.read  # `io.BufferedIOBase` has a `read1` that only raises this
            return self.__next__()
        if piece is None:
            raise BlockingIOError(f"a producer that is a file must be in blocking mode: {self._file!r}")
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Writer(Protocol):
    """What a function is given to write to."""

    def run_in_thread(self, function: Callable[[Any], object]) -> None:
        """Run the producer function with this writer."""

    def end_in_thread(self, *, complete: bool) -> None:
        """Accept nothing more, because the function has ended. It is complete if it has returned and somebody reads."""


class FunctionTurns(Turns):
    """The one turn of a function that writes. A function can't be suspended: it blocks in `write`."""

    kind = "functions"

    def __init__(self, function: Callable[[Any], object], new_writer: Callable[[Handoff], Writer]) -> None:
        self._function: Callable[[Any], object] | None = function
        self._new_writer = new_writer

    def turn_in_thread(self, handoff: Handoff) -> bool:
        function, self._function = self._function, None
        assert function is not None
        _running.set(self)  # in a context of this thread alone
        writer = self._new_writer(handoff)
        try:
            handoff.run_in_thread(lambda: writer.run_in_thread(function))
        except BaseException as exc:
            writer.end_in_thread(complete=False)  # before the exception goes, and with it the files of the function
            if not isinstance(exc, (SpoolBrokenError, SpoolExit)) or not handoff.stopped:  # else it belongs to another spool
                forget_locals(exc)
                raise
        else:
            writer.end_in_thread(complete=not handoff.closing)
        return False

    def close_in_thread(self) -> None:
        pass
