"""The event loop of asyncio, as `Loop` asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import trio

from .._core import PLACES, Event, Loop, Sleeper, Threads
from ._locks import LoopLock
from ._manners import AsyncioManners
from ._registry import OnePerLoop
from ._tasks import Driver, cancel_again, outlast, resume, wait_ended
from ._threads import AsyncioThreads, Limiter


class AsyncioSleeper(Sleeper):
    """A task that waits for a future, which is a new one each time."""

    def __init__(self, loop: AsyncioLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    @property
    def asleep(self) -> bool:
        return self._future is not None

    async def sleep(self) -> None:
        self._future = self._loop.loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        if self._future is not None:
            self._loop.passes.when_measured(partial(resume, self._future))


class AsyncioLoop(Loop):
    """One for each loop of asyncio; see `asyncio_loop`."""

    cancelled = asyncio.CancelledError

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.manners = self.passes = AsyncioManners(self.loop)
        self.new_lock = partial(LoopLock, self.loop)
        self.limiters = {kind: asyncio.Semaphore(places) for kind, places in PLACES.items()}
        self._drivers: set[Driver] = set()  # asyncio itself holds no reference to a task that waits

    def call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def sleeper(self) -> Sleeper:
        return AsyncioSleeper(self)

    def event(self) -> Event:
        return asyncio.Event()

    async def checkpoint(self) -> None:
        await self.passes.checkpoint()

    def check_limiter(self, limiter: object) -> None:
        if limiter is not None and (isinstance(limiter, trio.CapacityLimiter) or not isinstance(limiter, Limiter)):
            raise TypeError(f"a limiter on asyncio must be an asyncio.Semaphore, or have its acquire and release, not {limiter!r}")

    def threads(self, kind: str, limiter: Limiter | None) -> Threads:
        return AsyncioThreads(self.call_soon_in_thread, limiter if limiter is not None else self.limiters[kind])

    def drive(self, coroutine: Coroutine[Any, Any, None], tell: Callable[[], object] = bool) -> Driver:
        """Run a coroutine in a `Driver`, with a copy of the current context."""
        driver = Driver(coroutine, self.loop, tell)
        self._drivers.add(driver)
        driver.add_done_callback(self._drivers.discard)
        return driver

    @asynccontextmanager
    async def beside(self, function: Callable[..., Awaitable[None]], *arguments: object) -> AsyncIterator[None]:
        async def run() -> None:
            await function(*arguments)

        ended = partial(wait_ended, self.drive(run()))
        try:
            yield
        except GeneratorExit:
            raise  # the loop has ended without its tasks: nothing can be waited for
        except asyncio.CancelledError:
            await outlast(ended)
            raise
        except BaseException:
            if await outlast(ended):
                cancel_again()
            raise
        if cancelled := await outlast(ended):
            raise cancelled

    def cancel_again(self) -> None:
        cancel_again()

    def streaming(self) -> AbstractContextManager[None]:
        return nullcontext()


asyncio_loop = OnePerLoop("loop", AsyncioLoop)
