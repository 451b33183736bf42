"""A third event loop for the hand-over, as small as one can be, for trying all interleavings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import outcome

from . import stand_ins
from .baton import Baton


class Cancelled(BaseException):
    """Never raised: tasks of this loop are not cancelled."""


class _Trap:
    """What a task awaits: it goes on when it is put among the tasks that are ready."""

    def __await__(self) -> Generator[None, Any, Any]:
        return (yield)


class _Task:
    def __init__(self, coroutine: Coroutine[None, Any, Any]) -> None:
        self.coroutine = coroutine
        self.done = False


class _Sleeper:
    def __init__(self, loop: StrandLoop) -> None:
        self._loop = loop
        self._task: _Task | None = None

    @property
    def asleep(self) -> bool:
        return self._task is not None

    async def sleep(self) -> None:
        self._task = self._loop.current
        await _Trap()

    def wake(self) -> None:
        if self._task is not None:
            self._loop.reschedule(self._task)
            self._task = None


class _Event:
    def __init__(self, loop: StrandLoop) -> None:
        self._loop = loop
        self._set = False
        self._tasks: list[_Task] = []

    def set(self) -> None:
        self._set = True
        while self._tasks:
            self._loop.reschedule(self._tasks.pop())

    async def wait(self) -> None:
        if not self._set:
            self._tasks.append(self._loop.current)
            await _Trap()


class _Threads:
    """Every function gets a strand, one after the other."""

    waiting = crowded = False

    def __init__(self, loop: StrandLoop) -> None:
        self._loop = loop

    async def run(self, function: Callable[[], object]) -> object:
        loop, task = self._loop, self._loop.current

        def work() -> None:
            result = outcome.capture(function)
            loop.call_soon_in_thread(loop.reschedule, task, result)

        loop.baton.spawn("worker", "worker", work)
        return (await _Trap()).unwrap()

    def give_up(self) -> None:
        pass


class _Manners:
    last = others = 0.0

    def __init__(self, slice_: float) -> None:
        self.busy: set[object] = set()
        self._slice = slice_

    def time_slice(self, others: float) -> float:
        return self._slice

    def called_by_worker(self, function: Callable[[], object]) -> None:
        function()

    def when_others_have_run(self, release: Callable[[], None]) -> None:
        release()


class StrandLoop:
    """See `trio_spool._core._loop.Loop`, which says what each method does.

    Args:
        core: The copy's `_core`.
        yields: Whether a worker's time is always up, so that it yields whenever it looks at the clock.
    """

    cancelled = Cancelled
    new_lock = stand_ins.Lock
    watch = stand_ins.Watch()

    def __init__(self, core: ModuleType, baton: Baton, *, yields: bool = False) -> None:
        self._core = core
        self.baton = baton
        self.manners = _Manners(-1.0 if yields else 1.0)
        self.current: _Task
        self._ready: deque[tuple[_Task, object]] = deque()
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._tasks = 0
        self._stalled: deque[_Task] = deque()
        baton.when_idle(self._end_stall)

    @staticmethod
    def clock() -> float:
        return 0.0  # no time passes: how long something takes is up to the schedule

    thread_clock = clock

    def call_soon_in_thread(self, function: Callable[..., object], *arguments: object) -> bool:
        self.baton.switch("call_soon")
        self._calls.append((function, arguments))
        return True

    def reschedule(self, task: _Task, value: object = None) -> None:
        self._ready.append((task, value))

    def sleeper(self) -> _Sleeper:
        return _Sleeper(self)

    def event(self) -> _Event:
        return _Event(self)

    async def checkpoint(self) -> None:
        self.reschedule(self.current)
        await _Trap()

    async def stall(self) -> None:
        """Wait until everybody else waits."""
        self._stalled.append(self.current)
        await _Trap()

    def _end_stall(self) -> bool:
        if not self._stalled:
            return False
        self.call_soon_in_thread(self.reschedule, self._stalled.popleft())
        return True

    def threads(self, kind: str, limiter: object) -> _Threads:
        return _Threads(self)

    def streaming(self) -> AbstractContextManager[None]:
        return nullcontext()

    def start(self, coroutine: Coroutine[None, Any, Any]) -> None:
        """Run a coroutine in a task."""
        self._tasks += 1
        self.reschedule(_Task(coroutine))

    def run(self) -> None:
        """Run the tasks, and what threads ask for, until all tasks have ended."""
        while self._tasks:
            if not self._ready:
                self.baton.wait(self._has_calls, "waits for calls")
            self.baton.read("calls", len(self._calls))
            for _ in range(len(self._calls)):
                function, arguments = self._calls.popleft()
                function(*arguments)
            for _ in range(len(self._ready)):
                self.current, value = self._ready.popleft()
                try:
                    self.current.coroutine.send(value)
                except StopIteration:
                    self._tasks -= 1

    def _has_calls(self) -> bool:
        return bool(self._calls)
