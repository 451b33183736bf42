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


async def race(main: Callable[[], Awaitable[T]], companion: Callable[[], Awaitable[None]]) -> T:
    """Run two coroutine functions; when `main` ends, cancel `companion` and wait for its end.

    Args:
        main: It goes on whatever becomes of `companion`.
        companion: It handles its own errors.

    Returns:
        What `main` returns.
    """
    if trio.lowlevel.in_trio_task():
        return await _race_on_trio(main, companion)
    return await _race_on_asyncio(main, companion)


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


async def _race_on_asyncio(main: Callable[[], Awaitable[T]], companion: Callable[[], Awaitable[None]]) -> T:
    async def run() -> None:
        await companion()

    task = asyncio.create_task(run())
    try:
        return await main()
    finally:
        task.cancel()
        if cancelled := await outlast(partial(asyncio.wait, [task])):
            raise cancelled
