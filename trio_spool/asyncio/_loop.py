"""The event loop of asyncio, as `Loop` asks for it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import trio

from .._core import PLACES, Event, Loop, NoThreadError, Sleeper, T, Threads
from ._manners import AsyncioManners
from ._tasks import Driver, cancel_again, outlast


class Limiter(Protocol):
    """What limits how many producers have a turn at the same time: an `asyncio.Semaphore`, or an `anyio.CapacityLimiter`."""

    async def acquire(self) -> object:
        """Wait for a place."""

    def release(self) -> object:
        """Give a place back."""


class AsyncioSleeper(Sleeper):
    """A task that waits for a future, which is a new one each time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    @property
    def asleep(self) -> bool:
        return self._future is not None

    async def sleep(self) -> None:
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        future = self._future
        if future is not None and not future.done() and not self._loop.is_closed():
            future.set_result(None)


class AsyncioThreads(Threads):
    """Worker threads of Trio's cache, which needs no Trio run. They don't keep the interpreter from exiting."""

    def __init__(self, loop: AsyncioLoop, limiter: Limiter) -> None:
        self._loop = loop
        self._limiter = limiter
        self._acquiring: asyncio.Task[Any] | None = None
        self._given_up = False
        self.waiting = False

    async def run(self, function: Callable[[], T]) -> T:
        await self._acquire()
        try:
            return (await self._finished(function)).unwrap()  # type: ignore[no-any-return]  # kept in no variable, which the error's traceback would hold
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
        future = self._loop.loop.create_future()

        def deliver(outcome: object) -> None:
            self._loop.call_soon_in_thread(_settle, future, outcome)

        trio.lowlevel.start_thread_soon(partial(contextvars.copy_context().run, function), deliver)
        return future

    def give_up(self) -> None:
        self._given_up = True
        if self._acquiring is not None:
            asyncio.Task.cancel(self._acquiring)  # also if it is a Driver
            self._acquiring = None


def _settle(future: asyncio.Future[object], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


class AsyncioLoop(Loop):
    """One for each loop of asyncio; see `asyncio_loop`."""

    cancelled = asyncio.CancelledError
    manners: AsyncioManners

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.manners = AsyncioManners(loop)
        self.limiters = {kind: asyncio.Semaphore(places) for kind, places in PLACES.items()}
        self._drivers: set[Driver] = set()  # asyncio itself holds no reference to a task that waits

    def call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def sleeper(self) -> Sleeper:
        return AsyncioSleeper(self.loop)

    def event(self) -> Event:
        return asyncio.Event()

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    def threads(self, kind: str, limiter: Limiter | None) -> Threads:
        return AsyncioThreads(self, limiter if limiter is not None else self.limiters[kind])

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

        ended = partial(asyncio.wait, [self.drive(run())])
        try:
            yield
        except asyncio.CancelledError:
            await outlast(ended)
            raise
        except BaseException:
            if await outlast(ended):
                cancel_again()
            raise
        if cancelled := await outlast(ended):
            raise cancelled

    def streaming(self) -> AbstractContextManager[None]:
        return nullcontext()


_loops: dict[asyncio.AbstractEventLoop, AsyncioLoop] = {}


def asyncio_loop() -> AsyncioLoop:
    """Return the `AsyncioLoop` of the running loop."""
    loop = asyncio.get_running_loop()
    made = _loops.get(loop)
    if made is None:
        for ended in [other for other in list(_loops) if other.is_closed()]:
            _loops.pop(ended, None)
        made = _loops[loop] = AsyncioLoop(loop)
    return made
