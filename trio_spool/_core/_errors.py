"""The errors of spools and senders, one family for every event loop."""

from __future__ import annotations

import trio


class SpoolError(Exception):
    """The base of this library's own errors. What a producer raises is raised as it is."""


class SpoolBrokenError(SpoolError, trio.BrokenResourceError, BrokenPipeError):
    """The other side is gone.

    `SpoolWriter.write` raises it when nobody will read what is written: the receiver has left its block, lost its connection, or
    been cancelled. Code that writes to files sees a `BrokenPipeError`, and the code around it a `trio.BrokenResourceError`. Let the
    error propagate: the spool that stopped the producer expects it.

    A `Sender` raises it when its peer has left or has stopped reading.
    """


class SpoolExit(BaseException):
    """Raised by `SpoolWriter.write` instead of `SpoolBrokenError`, once that has been raised a hundred times.

    It ends functions that catch errors in a loop, which would write to nobody for ever. Like `GeneratorExit`, it is not an
    `Exception`. Let it propagate: the spool that stopped the producer expects it.
    """


class SpoolClosedError(SpoolError, trio.ClosedResourceError):
    """This side has been closed before: the block of a sender has ended."""


class SpoolFullError(SpoolError, trio.WouldBlock, BlockingIOError):
    """A full window of bytes is queued already, and `Sender.send_nowait` does not wait for room."""
