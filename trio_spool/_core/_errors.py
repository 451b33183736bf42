"""The errors of spools."""

from __future__ import annotations

import trio


class SpoolError(Exception):
    """The base of this library's own errors. What a producer raises is raised as it is, and what streams raise is Trio's."""


class SpoolBrokenError(SpoolError, trio.BrokenResourceError, BrokenPipeError):
    """Raised by `SpoolWriter.write` when nobody will read what is written.

    The receiver has left its block, lost its connection, or been cancelled. Code that writes to files sees a
    `BrokenPipeError`, and the code around it a `trio.BrokenResourceError`. Let the error propagate: the spool
    that stopped the producer expects it.
    """
