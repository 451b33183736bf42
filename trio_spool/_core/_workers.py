"""What spools and senders share: their worker threads' limiter, and how they report one failure."""

from __future__ import annotations

import sys
from typing import NoReturn

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Producers that may run at one time. They contend for one interpreter lock and for disks: more of them would not be
# faster. Those that are paused hold no thread.
DEFAULT_THREADS = 16

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("trio_spool_limiter")


def default_limiter() -> trio.CapacityLimiter:
    """Return the limiter that this Trio run's spools share unless they are given another."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(DEFAULT_THREADS)
        _limiter.set(limiter)
        return limiter


def raise_the_one(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise what a nursery of our own was ended by, without the group if it is one exception.

    A cancellation beside it is left out: what was cancelled still is, and finds out at its next checkpoint.
    """
    others = [exc for exc in group.exceptions if not isinstance(exc, trio.Cancelled)]
    if len(others) > 1:
        raise group
    one = others[0] if others else group.exceptions[0]
    context = one.__context__
    try:
        raise one
    finally:
        one.__context__ = context
