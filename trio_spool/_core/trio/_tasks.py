"""Tasks of Trio that belong to no block, and waits that outlast cancellation and interrupts.

A nursery that a library opens in its user's task is closed by whoever leaves the block. Where that is another task, as with an
async generator that a framework drops, Trio's stack of nurseries breaks, and with it the run. A system task belongs to nobody.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

import trio

from .._loop import Event


def start_apart(function: Callable[[], Awaitable[None]]) -> trio.Event:
    """Run a coroutine function, which raises nothing, in a task of its own, with a copy of the current context.

    An interrupt is never raised in it. It waits for threads, so it is shielded: something must be certain to end it.

    Returns:
        An event that is set when the function has returned.
    """
    ended = trio.Event()
    _spawn(partial(_run_shielded, function, ended), function)
    return ended


def start_until_run_ends(function: Callable[[], Awaitable[None]], tell: Callable[[], object]) -> trio.Event:
    """Run a coroutine function as `start_apart` does, if a block may be left open when Trio's main task ends.

    Args:
        function: The coroutine function.
        tell: Called if Trio's main task has ended, and the function has not: it has the function end.
    """
    ended = trio.Event()

    async def run_or_tell() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_shielded, function, ended)
            try:
                await ended.wait()
            except trio.Cancelled:
                tell()
                raise

    _spawn(run_or_tell, function)
    return ended


def _spawn(run: Callable[[], Awaitable[None]], name: object) -> None:
    trio.lowlevel.spawn_system_task(run, name=name, context=contextvars.copy_context())


@trio.lowlevel.enable_ki_protection  # a system task has it, but its children have not
async def _run_shielded(function: Callable[[], Awaitable[None]], ended: trio.Event) -> None:
    with trio.CancelScope(shield=True):
        try:
            await function()
        finally:
            ended.set()


class Apart:
    """A coroutine function, which raises nothing but `trio.Cancelled`, in a task of its own that can be cancelled.

    An interrupt is never raised in it. It is cancelled when Trio's main task has ended.
    """

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.cancel = self._scope.cancel
        _spawn(partial(self._run, function), function)  # not kept here: it may refer to who keeps this

    async def _run(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await function()
        finally:
            self._ended.set()

    async def wait(self) -> None:
        """Wait for the end of the task, which is cancelled if this is cancelled or interrupted."""
        try:
            await self._ended.wait()
        except BaseException:
            self.cancel()
            await outlast(self._ended)
            raise


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


def check_left_by(entered_by: trio.lowlevel.Task, block: str, consequence: str) -> None:
    """Check that a block is left by the task that entered it.

    Raises:
        RuntimeError: It is not.
    """
    task = trio.lowlevel.current_task()
    if task is not entered_by:
        raise RuntimeError(
            f"the block of {block} was entered by task {entered_by.name} and left by another one, {task.name}, "
            f"as when an async generator that yields inside of it is dropped. {consequence}"
        )
