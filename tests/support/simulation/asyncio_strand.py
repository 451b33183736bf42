"""asyncio as it is, in a strand: only its waiting for I/O, its clock, and the threads obey the baton."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

import outcome
import trio

from .baton import Baton

# Passes of the loop in which a run that failed must end. Picked, not measured.
_MOST_PASSES = 1000


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits until another strand has called the loop, or until nobody else can go on."""

    def __init__(self, baton: Baton) -> None:
        super().__init__()
        self._baton = baton
        self._until: float | None = None
        self.called = False
        self.ending: asyncio.AbstractEventLoop | None = None
        self._passes = 0

    def _is_called(self) -> bool:
        return self.called or (self._until is not None and self._baton.now >= self._until)

    def select(self, timeout: float | None = None) -> Any:
        if self.ending is not None:
            self._end()
        elif timeout is None or timeout > 0:
            self._until = None if timeout is None else self._baton.now + timeout
            self._baton.wait(self._is_called, "waits for I/O")
            self._until = None
        else:
            self._baton.switch("pass")
        self.called = False
        return super().select(0)

    def _end(self) -> None:
        self._passes += 1
        if self._passes > _MOST_PASSES:
            raise RuntimeError("a simulation that failed does not end")
        for task in asyncio.all_tasks(self.ending):
            task.cancel()

    def idle(self) -> bool:
        if self._until is None:
            return False
        self._baton.now = self._until
        return True


class StrandEventLoop(asyncio.SelectorEventLoop):
    """A loop whose time is made by the baton."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._calls = _Selector(baton)
        baton.when_idle(self._calls.idle)
        super().__init__(self._calls)
        self.slow_callback_duration = float("inf")

    def end(self) -> None:
        """Cancel all tasks in each of the next passes, since the simulation failed. If that does not help, have the loop fail."""
        self._calls.ending = self

    def time(self) -> float:
        return self._baton.now

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any, **context: Any) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(callback, *arguments, **context)
        self._calls.called = True
        return handle


def run_asyncio(baton: Baton, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function by `asyncio.run` in a strand, and all threads in others, until all have ended.

    Raises:
        Stuck: They wait for each other, or do not end.
        BaseException: What the function raised.
    """

    def start_thread_soon(function: Callable[[], Any], deliver: Callable[[Any], object], name: str | None = None) -> None:
        def work() -> None:
            result = outcome.capture(function)
            baton.switch("the thread's end")
            deliver(result)

        if baton.current is None:  # a simulation that failed is ending
            work()
        else:
            baton.spawn("worker", "worker", work)

    loop = StrandEventLoop(baton)
    with (
        mock.patch.object(asyncio.events, "new_event_loop", lambda: loop),
        mock.patch.object(trio.lowlevel, "start_thread_soon", start_thread_soon),
    ):
        strand = baton.spawn("loop", "loop", lambda: asyncio.run(main()))
        try:
            baton.run()
        except BaseException:
            baton.abandon(apart_from=strand)
            if strand in baton.strands:
                loop.end()
                strand.greenlet.switch()
            raise
