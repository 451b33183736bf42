"""What a response needs of the event loop it runs in: tasks beside each other, a lock, and sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

Function = Callable[[], Awaitable[None]]


def on_trio() -> bool:
    """Return whether a task of Trio calls this. In guest mode a loop of asyncio runs in the same thread, so Trio is asked first."""
    return trio.lowlevel.in_trio_task()


def new_lock() -> AbstractAsyncContextManager[object]:
    """Return a lock of the loop that runs."""
    return trio.Lock() if on_trio() else asyncio.Lock()


async def sleep(seconds: float) -> None:
    """Sleep on the loop that runs."""
    if on_trio():
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def until_first(*functions: Function) -> None:
    """Run functions beside each other until the first of them ends, and cancel the others.

    Raises:
        BaseException: What a function raised, that of the first such function in the order of the arguments.
    """
    await (_until_first_on_trio(functions) if on_trio() else _until_first_on_asyncio(functions))


async def _until_first_on_trio(functions: Sequence[Function]) -> None:
    failures: dict[int, Exception] = {}

    async def run(number: int, function: Function) -> None:
        try:
            await function()
        except Exception as error:  # raised below, and not in a group
            failures[number] = error
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for number, function in enumerate(functions):
            nursery.start_soon(run, number, function)
    for number in sorted(failures):
        raise failures[number]


async def _until_first_on_asyncio(functions: Sequence[Function]) -> None:
    tasks = [asyncio.ensure_future(function()) for function in functions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel tasks and wait until all have ended, also if this task is cancelled meanwhile."""
    cancellation: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancellation = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # marks it as seen: asyncio would log what nobody asks for
    if cancellation is not None:
        raise cancellation
