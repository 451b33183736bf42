"""What spools and senders share: their worker threads' limiter, and how they report one failure."""

from __future__ import annotations

import sys
from typing import NoReturn

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Iterables that may run at one time. They contend for one interpreter lock and for disks: more of them would not be
# faster. Those that are paused hold no thread.
ITERABLE_THREADS = 16
# Functions that write: those that wait for their receivers hold a thread each.
FUNCTION_THREADS = 64
# Iterators that are closed while they are paused. Not of the others, which may all be held by what waits.
CLOSING_THREADS = 16


class Limiters:
    """The limiters that this Trio run's spools share unless they are given another."""

    def __init__(self) -> None:
        self.iterables = trio.CapacityLimiter(ITERABLE_THREADS)
        self.functions = trio.CapacityLimiter(FUNCTION_THREADS)
        self.closing = trio.CapacityLimiter(CLOSING_THREADS)


_limiters: trio.lowlevel.RunVar[Limiters] = trio.lowlevel.RunVar("trio_spool_limiters")


def limiters() -> Limiters:
    """Return this Trio run's."""
    try:
        return _limiters.get()
    except LookupError:
        made = Limiters()
        _limiters.set(made)
        return made


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception is nothing but a cancellation."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)


def raise_the_one(group: BaseExceptionGroup[BaseException], closing_error: BaseException | None = None) -> NoReturn:
    """Raise what a nursery of our own was ended by, without the group if it is one exception.

    A cancellation beside it is left out: what was cancelled still is, and finds out at its next checkpoint.

    Args:
        group: What the nursery raised.
        closing_error: What went wrong beside it.
    """
    others = [exc for exc in group.exceptions if not isinstance(exc, trio.Cancelled)]
    if closing_error is not None:
        others.append(closing_error)
    if len(others) > 1:
        if closing_error is None:
            raise group
        raise BaseExceptionGroup(group.message, others) from None
    one = others[0] if others else group.exceptions[0]
    context = one.__context__
    try:
        raise one
    finally:
        one.__context__ = context
