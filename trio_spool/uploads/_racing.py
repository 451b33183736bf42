"""A task beside another one, which is cancelled when the other one ends: for waiting on foreign code, such as ASGI's `receive`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from .._core import raise_the_one
from ..asyncio._tasks import outlast

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

T = TypeVar("T")


async def race(main: Callable[[], Awaitable[T]], companion: Callable[[], Awaitable[None]], *, delay: float = 0) -> T:
    """Run two coroutine functions; when `main` ends, cancel `companion` and wait for its end.

    Args:
        main: It goes on whatever becomes of `companion`.
        companion: It handles its own errors.
        delay: How many seconds later `companion` may start. If `main` ends before, there is no task to make and to cancel, which is
            a fifth of the time of a short request on asyncio. On Trio it starts at once: a timer would cost as much.

    Returns:
        What `main` returns.
    """
    if trio.lowlevel.in_trio_task():
        return await _race_on_trio(main, companion)
    return await _race_on_asyncio(main, companion, delay)


async def _race_on_trio(main: Callable[[], Awaitable[T]], companion: Callable[[], Awaitable[None]]) -> T:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(companion)
            try:
                return await main()
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_the_one(group)
    raise AssertionError("unreachable: the nursery's block returns or raises")


async def _race_on_asyncio(main: Callable[[], Awaitable[T]], companion: Callable[[], Awaitable[None]], delay: float) -> T:
    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        await companion()

    def start() -> None:
        tasks.append(asyncio.create_task(run()))

    if delay:
        timer = asyncio.get_running_loop().call_later(delay, start)
    else:
        timer = None
        start()
    try:
        return await main()
    finally:
        if timer is not None:
            timer.cancel()
        if tasks:
            tasks[0].cancel()
            if cancelled := await outlast(partial(asyncio.wait, tasks)):
                raise cancelled
