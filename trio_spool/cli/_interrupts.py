"""Ctrl-C. It ends the program with status 130 and without a traceback, whatever the program is doing.

A command gets `KeyboardInterrupt`, so that it can end properly. Everything else is ended at once by a signal handler, which the
program installs before it imports anything: a `KeyboardInterrupt` that is raised in certain functions of Python's import system, or
while Python shuts down, is printed with a traceback, and the program goes on.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")
Handler = Callable[[int, "FrameType | None"], Any]

# The exit status that shells show for a program that SIGINT has ended.
INTERRUPTED: Final = 130
# The handler that ends the program at once. Nobody has installed one if the commands run in a process of another kind, as in tests.
_handlers: list[Handler] = []


def take_over() -> None:
    """Take the handler that is installed for the one that ends the program at once. Called once, by the program.

    From now on, Python says nothing of a coroutine that nobody awaits because an interrupt came between the two.
    """
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # otherwise Ctrl-C is ignored
        _handlers.append(handler)


def run_interruptibly(work: Callable[[], T], interrupted: Callable[[], T]) -> T:
    """Run a command, to which Ctrl-C is a `KeyboardInterrupt`.

    Args:
        work: The command.
        interrupted: Is called if it was interrupted.
    """
    try:
        _handle(signal.default_int_handler)
        try:
            return work()
        finally:
            _handle(*_handlers)
    except BaseException as exc:
        _handle(*_handlers)
        if not _is_interrupt(exc):
            raise
    return interrupted()


@contextmanager
def importing() -> Iterator[None]:
    """End the program at once at Ctrl-C in this block, which only imports modules."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # Trio's handler raises no interrupt in the middle of an import
        yield
        return
    _handle(*_handlers)
    try:
        yield
    finally:
        _handle(signal.default_int_handler)


def _handle(*handlers: Handler) -> None:
    if _handlers and handlers:
        signal.signal(signal.SIGINT, handlers[0])


def _is_interrupt(error: BaseException) -> bool:
    """Return whether an error is an interrupt, or a group with one: a nursery adds what failed at the same time."""
    inner: Any = getattr(error, "exceptions", ())
    return isinstance(error, KeyboardInterrupt) or any(map(_is_interrupt, inner))
