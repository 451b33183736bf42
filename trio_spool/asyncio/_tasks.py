"""Tasks of asyncio that outlast cancellation.

asyncio cancels a task by raising `CancelledError` once, where the task waits. A thread can't be interrupted, so what waits for one
must go on waiting, however often it is cancelled, and raise the error afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Any


class Driver(asyncio.Task[None]):
    """A task that is not cancelled, but told to end.

    `asyncio.run` cancels all tasks when it ends, and waits for them. A helper task that waited for a thread would leave the thread
    behind; this one makes the producer stop, and ends with it.

    Args:
        coroutine: What the task runs.
        loop: The loop that runs it. The loop's task factory is not asked, since this class is the point.
        tell: Called when the task is cancelled.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, tell: Callable[[], object]) -> None:
        super().__init__(coroutine, loop=loop)
        self._tell = tell

    def cancel(self, msg: object = None) -> bool:
        """Tell the task to end. Returns False, since no `CancelledError` will be raised in it."""
        if not self.done():
            self._tell()
        return False


async def outlast(wait: Callable[[], Awaitable[object]]) -> asyncio.CancelledError | None:
    """Wait for what a function waits for, however often this is cancelled. Return the last cancellation, which is then due.

    Args:
        wait: Returns at once, without letting other tasks run, if there is nothing to wait for.
    """
    cancelled = None
    # anyio cancels a task again in every pass of the loop, unless it is told not to.
    anyio = sys.modules.get("anyio")
    with nullcontext() if anyio is None else anyio.CancelScope(shield=True):
        while True:
            try:
                await wait()
            except asyncio.CancelledError as exc:
                cancelled = exc
            else:
                return cancelled


async def wait_ended(task: asyncio.Task[Any]) -> None:
    """Wait until a task has ended, whatever with."""
    if not task.done():  # `asyncio.wait` would let other tasks run all the same
        await asyncio.wait([task])


def cancel_again() -> None:
    """Keep a cancellation that is not raised, because an error is: the current task is cancelled at its next wait.

    This is what `asyncio.TaskGroup` does. Before Python 3.13 nothing can be done that `asyncio.timeout` would understand, so there,
    as in its task groups, only the error is seen.
    """
    task = asyncio.current_task()
    if task is not None and sys.version_info >= (3, 13) and task.cancelling():
        task.uncancel()
        task.cancel()


def resume(future: asyncio.Future[Any], result: object = None) -> None:
    """Have the task go on that waits for a future, if it still does."""
    if not future.get_loop().is_closed():
        # To look first is not enough: at an interrupt, `asyncio.run` cancels its main task between any two steps of Python.
        with suppress(asyncio.InvalidStateError):
            future.set_result(result)
