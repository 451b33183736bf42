"""How the blocks of spools and senders raise what happened in them: a single exception as itself, several in a group."""

from __future__ import annotations

import sys
from traceback import clear_frames
from typing import NoReturn

import trio

from ._loop import Loop

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def let_go(error: BaseException) -> None:
    """Clear the functions that have ended in the tracebacks of an error and of its causes.

    Trio translates the errors of sockets in a context manager, and the frame of its ``__exit__`` refers to the error whose
    traceback refers to it. Through that frame, everything that was being sent and received would stay until the next collection of
    garbage, which may be hundreds of megabytes later.
    """
    another: BaseException | None = error
    while another is not None:
        clear_frames(another.__traceback__)
        another = another.__cause__ or another.__context__


def is_cancellation(error: BaseException, cancelled: type[BaseException]) -> bool:
    """Return whether an exception is nothing but a cancellation: one of the type that the loop uses, or a group of those."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(exc, cancelled) for exc in error.exceptions)
    return isinstance(error, cancelled)


def is_only(group: BaseExceptionGroup[BaseException], error: BaseException) -> bool:
    """Return whether a group holds nothing but one exception, and cancellations of Trio beside it."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            if not is_only(exc, error):
                return False
        elif exc is not error and not isinstance(exc, trio.Cancelled):
            return False
    return True


def raise_closing_error(error: BaseException, other: BaseException | None, loop: Loop) -> NoReturn:
    """Raise the error with which a producer was closed, in a group if something else was raised as well.

    A cancellation is no such thing: the task is still cancelled, and finds out at its next checkpoint.
    """
    try:
        if other is not None and not isinstance(other, loop.cancelled):
            raise BaseExceptionGroup("the block of a spool failed, and so did closing its producer", [other, error]) from None
        if other is not None:
            loop.cancel_again()
        raise error from None
    finally:
        del error, other  # the traceback holds this frame


def raise_the_one(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the exception that ended an internal nursery, without the group if there is only one.

    A cancellation beside it is left out: the task is still cancelled, and finds out at its next checkpoint.
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
        # Its traceback holds this frame: with names for it here, only the garbage collector would free all that the frames hold.
        del one, others, group
