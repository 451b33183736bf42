"""Standard output and standard error of the program: closed, full, or with nobody who reads them.

Python gives a program none of what POSIX's tools do here. A closed standard output is no stream but None, and the next file that is
opened gets its descriptor; an error while it is written is a traceback, and another one at exit, when Python flushes again what
could not be written; an error while standard error is written ends whoever wanted to log a line.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, Final, TextIO

from ._errors import OutputError

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2


class StandardOutput(io.FileIO):
    """Standard output without its buffer. The first write that fails raises an error, and what is written after it is dropped.

    Args:
        closed_from_start: Whether the program was started without a standard output.

    Attributes:
        dropping: Whether what is written is dropped.
    """

    def __init__(self, *, closed_from_start: bool = False) -> None:
        super().__init__(_STDOUT, "wb", closefd=False)
        self._closed_from_start = closed_from_start
        self.dropping = False

    def write(self, data: Any) -> int:
        """Write bytes, and return how many were written.

        Raises:
            BrokenPipeError: Nobody reads it.
            OutputError: It can't be written.
        """
        if self.dropping:
            return memoryview(data).nbytes
        try:
            if self._closed_from_start:
                raise OutputError("standard output is closed; redirect it, for example to /dev/null")
            while (written := super().write(data)) is None:  # another process that shares the output has made it non-blocking
                select.select((), (self,), ())
        except BaseException as exc:
            self.dropping = True
            if isinstance(exc, OSError) and not isinstance(exc, BrokenPipeError):
                from .._files import explain  # is not needed for a page of help

                raise OutputError(f"can't write to standard output: {explain(exc)}; redirect it to somewhere else") from None
            raise
        return written


class _StandardError(io.FileIO):
    """Standard error without its buffer. What can't be written is lost, since there is nowhere to report it.

    Attributes:
        dropping: Whether what is written is dropped.
    """

    def __init__(self) -> None:
        super().__init__(_STDERR, "wb", closefd=False)
        self.dropping = False

    def write(self, data: Any) -> int:
        """Write bytes, and return how many were written or dropped."""
        if self.dropping:
            return memoryview(data).nbytes
        with suppress(OSError):
            written: int | None = super().write(data)
            while written is None:
                select.select((), (self,), ())
                written = super().write(data)
            return written
        return memoryview(data).nbytes


def take_over() -> None:
    """Replace the streams of this process. Descriptors that are closed are opened on the null device."""
    closed_from_start = sys.stdout is None
    for number, flags in ((_STDIN, os.O_RDONLY), (_STDOUT, os.O_WRONLY), (_STDERR, os.O_WRONLY)):
        _open_if_closed(number, flags)
    sys.stdout = _text(StandardOutput(closed_from_start=closed_from_start), sys.stdout)
    sys.stderr = _text(_StandardError(), sys.stderr, line_buffering=True)


def _open_if_closed(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, flags)
        if null != number:  # a lower one is closed, too; never so, since this is called for them in order
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)


def _text(raw: io.FileIO, old: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """Return a stream of text on a file, with the encoding of another one. Characters that it lacks are no error."""
    encoding = "utf-8" if old is None else old.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=line_buffering or raw.isatty()
    )


def drop_output() -> None:
    """Drop what is buffered, and what is written from now on: flushing it at exit could block for ever if nobody reads it."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, StandardOutput):
        raw.dropping = True


def drop_errors() -> None:
    """Drop what is written to standard error from now on: nobody reads it, and writing could block for ever."""
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    if isinstance(raw, _StandardError):
        raw.dropping = True
