"""Tasks of Trio that belong to no block, and waits that outlast cancellation and interrupts.

A nursery that a library opens in its user's task is closed by whoever leaves the block. Where that is another task, as with an
async generator that a framework drops, Trio's stack of nurseries breaks, and with it the run. A system task belongs to nobody.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from types import TracebackType

import trio

from ._loop import Event


def start_apart(function: Callable[[], Awaitable[None]], tell: Callable[[], object] | None = None) -> trio.Event:
    """Run a coroutine function, which raises nothing, in a task of its own, with a copy of the current context.

    An interrupt is never raised in it.

    Args:
        function: The coroutine function. It waits for threads, so it is shielded.
        tell: Called when Trio's main task has ended, and the function has not: it has the function end. Leave it out, and save a
            task, where a block is certain to do that.

    Returns:
        An event that is set when the function has returned.
    """
    ended = trio.Event()

    @trio.lowlevel.enable_ki_protection  # a system task has it, but its children have not
    async def run() -> None:
        with trio.CancelScope(shield=True):
            try:
                await function()
            finally:
                ended.set()

    async def run_or_tell() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            try:
                await ended.wait()
            except trio.Cancelled:
                assert tell is not None
                tell()
                raise

    trio.lowlevel.spawn_system_task(run if tell is None else run_or_tell, name=function, context=contextvars.copy_context())
    return ended


@trio.lowlevel.enable_ki_protection
async def outlast(event: Event) -> None:
    """Wait for an event, however often this is cancelled or interrupted, and raise an interrupt only afterwards."""
    interrupt = None
    with trio.CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except KeyboardInterrupt as exc:
                interrupt = exc
    if interrupt is not None:
        raise interrupt


class Beside:
    """A block beside which a coroutine function runs, in a task of its own. Leaving the block waits for its end."""

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._function = function

    async def __aenter__(self) -> None:
        self._ended = start_apart(self._function)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await outlast(self._ended)
