"""Trio as it is, in a strand: only its waiting for I/O, its clock, and its threads obey the baton."""

from __future__ import annotations

import contextvars
import random
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import outcome
import trio

from .baton import Baton, Strand

# Trio's own names: it has no public way to be made deterministic, nor to be told how to wait.
_run = trio._core._run  # type: ignore[attr-defined]
# Passes of the loop in which a run that failed must end. Picked, not measured.
_MOST_PASSES = 1000
# Runs that did not end: their tasks are kept, since Python would complain if it had to close them.
_stuck: list[object] = []


class _Clock(trio.abc.Clock):
    def __init__(self, baton: Baton) -> None:
        self._baton = baton

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._baton.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self._baton.now


class _Waiting:
    """Waits for I/O in Trio's place: until another strand has called the loop, or until nobody else can go on."""

    def __init__(self, runner: Any, baton: Baton) -> None:
        self._runner = runner
        self._manager = runner.io_manager
        self._baton = baton
        self._until: float | None = None
        self.scope = trio.CancelScope()
        self._ending = False
        self._passes = 0

    def _called(self) -> bool:
        entries = self._runner.entry_queue
        return bool(entries.queue or entries.idempotent_queue) or (self._until is not None and self._baton.now >= self._until)

    def get_events(self, timeout: float) -> object:
        if self._ending:
            self._end()
        elif timeout > 0:
            # Trio never waits for more than a day: so long a wait stands for one without an end.
            self._until = self._baton.now + timeout if timeout < 80_000 else None
            self._baton.wait(self._called, "waits for I/O")
            self._until = None
        else:
            self._baton.switch("pass")
        return self._manager.get_events(0)

    def process_events(self, events: object) -> None:
        if self._passes > _MOST_PASSES:
            raise RuntimeError("a simulation that failed does not end")  # Trio then ends its loop, but not the tasks
        self._manager.process_events(events)

    def end(self, loop: Strand) -> list[object]:
        """Cancel the main task of a run that failed, and let the loop end; if it does not, have it fail, and return what to keep."""
        self._ending = True
        self._baton.abandon(apart_from=loop)
        loop.greenlet.switch()
        return [self._runner] if self._passes > _MOST_PASSES else []

    def _end(self) -> None:
        self._passes += 1
        self.scope.cancel()

    def idle(self) -> bool:
        if self._until is None:
            return False
        self._baton.now = self._until
        return True

    def __getattr__(self, name: str) -> object:
        return getattr(self._manager, name)


def _run_sync_by(baton: Baton) -> Callable[..., Awaitable[object]]:
    """Return what stands for `trio.to_thread.run_sync`: it runs a function in a strand of its own."""

    async def run_sync(function: Callable[..., object], *arguments: object, limiter: trio.CapacityLimiter) -> object:
        await trio.lowlevel.checkpoint_if_cancelled()
        token, task, borrower = trio.lowlevel.current_trio_token(), trio.lowlevel.current_task(), object()
        await limiter.acquire_on_behalf_of(borrower)
        context = contextvars.copy_context()

        def work() -> None:
            result = outcome.capture(context.run, function, *arguments)
            baton.switch("the thread's end")
            token.run_sync_soon(report, result)

        def report(result: outcome.Outcome[object]) -> None:
            limiter.release_on_behalf_of(borrower)
            trio.lowlevel.reschedule(task, result)

        if baton.current is None:  # a simulation that failed is ending
            work()
        else:
            baton.spawn("worker", "worker", work)
        return await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    return run_sync


def run_trio(baton: Baton, function: Callable[..., Awaitable[object]], *arguments: object, seed: int = 0) -> None:
    """Run an async function by `trio.run` in a strand, and all its threads in others, until all have ended.

    Raises:
        Stuck: They wait for each other, or do not end.
        BaseException: What the function raised.
    """

    async def main() -> None:
        nonlocal waiting
        runner = _run.GLOBAL_RUN_CONTEXT.runner
        runner.io_manager = waiting = _Waiting(runner, baton)
        baton.when_idle(waiting.idle)
        with trio.CancelScope() as scope:
            waiting.scope = scope
            await function(*arguments)

    def strand() -> None:
        try:
            trio.run(main, clock=_Clock(baton))
        except trio.TrioInternalError as exc:
            raise exc.__cause__ or exc

    waiting: _Waiting | None = None
    with (
        mock.patch.object(_run, "_r", random.Random(seed)),
        mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        mock.patch.object(trio.to_thread, "run_sync", _run_sync_by(baton)),
    ):
        loop = baton.spawn("loop", "loop", strand)
        try:
            baton.run()
        except BaseException:
            if waiting is not None and loop in baton.strands:
                _stuck.extend(waiting.end(loop))
            raise
