"""The event loop of Trio, as `Loop` asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any

import trio

from .._loop import PLACES, Event, Loop, NoThreadError, Sleeper, T, Threads
from ._limiter import TrioLimiter
from ._manners import TrioManners
from ._per_run import PerRun
from ._tasks import Beside


class TrioSleeper(Sleeper):
    """A task that is taken out of Trio's schedule, and put back."""

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    @property
    def asleep(self) -> bool:
        return self._task is not None

    async def sleep(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class TrioThreads(Threads):
    """Worker threads of `trio.to_thread`, so a producer may use `trio.from_thread`."""

    def __init__(self, limiter: trio.CapacityLimiter | TrioLimiter) -> None:
        self._limiter: Any = limiter  # `to_thread.run_sync` takes both, and names only one
        self._scope: trio.CancelScope | None = None
        self._given_up = False
        self.waiting = False

    @property
    def crowded(self) -> bool:
        return bool(self._limiter.available_tokens < 1)

    async def run(self, function: Callable[[], T]) -> T:
        def begin() -> T:
            self.waiting = False
            return function()

        with trio.CancelScope(shield=True) as self._scope:
            if self._given_up:
                self._scope.cancel()
            self.waiting = True
            try:
                return await trio.to_thread.run_sync(begin, limiter=self._limiter)
            finally:
                self.waiting = False
                self._scope = None
        raise NoThreadError

    def give_up(self) -> None:
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()


class TrioLoop(Loop):
    """One for each Trio run, which `trio_loop` returns."""

    cancelled = trio.Cancelled
    manners: TrioManners

    def __init__(self) -> None:
        self.manners = TrioManners()  # pyright: ignore[reportIncompatibleVariableOverride]  # it is set once
        self.limiters = {kind: trio.CapacityLimiter(places) for kind, places in PLACES.items()}
        self._token = trio.lowlevel.current_trio_token()

    def call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            self._token.run_sync_soon(function, *arguments)
        except trio.RunFinishedError:
            return False
        return True

    def sleeper(self) -> Sleeper:
        return TrioSleeper()

    def event(self) -> Event:
        return trio.Event()

    # Trio's own functions, without a coroutine around each: measured, that was a twentieth of `Sender.send`. Pyright takes a static
    # method for something that is not called like a method.
    checkpoint = staticmethod(trio.lowlevel.checkpoint)  # pyright: ignore[reportAssignmentType]
    checkpoint_if_cancelled = staticmethod(trio.lowlevel.checkpoint_if_cancelled)  # pyright: ignore[reportAssignmentType]
    cancel_shielded_checkpoint = staticmethod(trio.lowlevel.cancel_shielded_checkpoint)  # pyright: ignore[reportAssignmentType]

    def check_limiter(self, limiter: object) -> None:
        if limiter is not None and not isinstance(limiter, (trio.CapacityLimiter, TrioLimiter)):
            raise TypeError(f"a limiter on Trio must be a trio.CapacityLimiter, not {limiter!r}")

    def threads(self, kind: str, limiter: trio.CapacityLimiter | TrioLimiter | None) -> Threads:
        return TrioThreads(limiter if limiter is not None else self.limiters[kind])

    def beside(self, function: Callable[..., Awaitable[None]], *arguments: object) -> AbstractAsyncContextManager[None]:
        return Beside(partial(function, *arguments))

    def streaming(self) -> AbstractContextManager[None]:
        return self.manners.streaming()


trio_loop = PerRun("trio_spool_loop", TrioLoop)
