"""The worker threads of asyncio."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import trio

from .._core import NoThreadError, T, Threads
from ._tasks import resume


@runtime_checkable
class Limiter(Protocol):
    """What limits how many producers have a turn at the same time: an `asyncio.Semaphore`, or an `anyio.CapacityLimiter`."""

    async def acquire(self) -> object:
        """Wait for a place."""

    def release(self) -> object:
        """Give a place back."""


class AsyncioThreads(Threads):
    """Worker threads of Trio's cache, which needs no Trio run. They don't keep the interpreter from exiting."""

    def __init__(self, call_soon: Callable[..., bool], limiter: Limiter) -> None:
        self._call_soon_in_thread = call_soon
        self._limiter = limiter
        self._acquiring: asyncio.Task[Any] | None = None
        self._given_up = False
        self.waiting = False

    @property
    def crowded(self) -> bool:
        locked = getattr(self._limiter, "locked", None)
        return bool(locked()) if locked is not None else True

    async def run(self, function: Callable[[], T]) -> T:
        await self._acquire()
        try:
            # The outcome is kept in no variable, which the traceback of its error would hold.
            return (await self._finished(function)).unwrap()  # type: ignore[no-any-return]
        finally:
            self._limiter.release()

    async def _acquire(self) -> None:
        if self._given_up:
            raise NoThreadError
        self._acquiring = asyncio.current_task()
        self.waiting = True
        try:
            await self._limiter.acquire()
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            raise NoThreadError from None
        finally:
            self._acquiring = None
            self.waiting = False
        if self._given_up:
            self._limiter.release()
            raise NoThreadError

    def _finished(self, function: Callable[[], T]) -> asyncio.Future[Any]:
        """Return a future, on which a `Driver` waits, for the outcome of a function in a thread."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def deliver(outcome: object) -> None:
            self._call_soon_in_thread(resume, future, outcome)

        trio.lowlevel.start_thread_soon(partial(contextvars.copy_context().run, function), deliver)
        return future

    def give_up(self) -> None:
        self._given_up = True
        if self._acquiring is not None:
            asyncio.Task.cancel(self._acquiring)  # also if it is a Driver
            self._acquiring = None
