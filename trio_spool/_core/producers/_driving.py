"""The task that gives a producer its turns in worker threads, and has it end once nobody will read any more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from .._loop import NoThreadError, Threads
from .._raising import is_cancellation
from .._watch import Wait, log, stacks
from ..handover import Handoff
from ._tracebacks import cut
from ._turns import Turns

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


async def drive(turns: Turns, handoff: Handoff, limiter: object) -> None:
    """Give a producer, which `prepare` has taken over, its turns until it ends or the receiver leaves, and close it.

    Never raises the producer's exception: the receiver gets that, after the bytes emitted before it. This must not be cancelled,
    since the producer would run on in its thread: call `Handoff.close` instead.
    """
    driver = _Driver(turns, handoff, limiter)
    handoff.give_up = driver.leave
    if handoff.closing:
        driver.leave()
    if turns.stop is None:
        await driver.run()
    else:
        async with handoff.loop.beside(driver.call_stop):
            await driver.run()
    turns.sender = None
    handoff.give_up = bool  # the driver refers to the hand-over
    handoff.finish(driver.failure())


# Producers that are driven. If a loop of asyncio is freed with its tasks, the collector would close their generators itself, in
# whichever thread it runs; it leaves alone what is in here.
_driven: set[Turns] = set()


def close_apart(turns: Turns) -> None:
    """Have a producer closed that is not at work, and that no loop will drive any more. Nobody waits for that."""

    def close_in_thread() -> None:
        try:
            if turns.stop is not None:
                turns.stop()
            if turns.open:
                turns.close_in_thread()
        except Exception:
            log.exception("closing producer %s failed, and nobody reads its output any more", turns.name)

    with suppress(RuntimeError):  # the interpreter is exiting, and starts no thread any more
        trio.lowlevel.start_thread_soon(close_in_thread, bool)


class _Driver:
    """Runs one producer, and its stop function beside it. The event loop writes what is not said to be written by a worker."""

    def __init__(self, turns: Turns, handoff: Handoff, limiter: object) -> None:
        self._turns = turns
        self._handoff = handoff
        self._loop = handoff.loop
        self._threads = handoff.loop.threads(turns.kind, limiter)
        self._failure: BaseException | None = None  # written by the worker: of the producer
        self._stop_failure: BaseException | None = None  # of the stop function
        self._running: set[int] = set()  # the threads that run the two; written by them
        self._left = False  # whether nobody will read any more
        self._ended = False  # whether the producer has ended
        self._ending: Wait | None = None  # for the end of a producer that was stopped; also written by the watch
        self._left_or_ended = self._loop.event()
        self._stop_returned = self._loop.event()

    async def run(self) -> None:
        """Run the producer until it has ended or is closed."""
        turns, handoff = self._turns, self._handoff
        _driven.add(turns)
        with self._loop.streaming():
            turn = partial(turns.turn_in_thread, handoff)
            try:
                while await self._run_in_thread(self._threads, turn) and not handoff.closing:
                    await handoff.wait_room()
            except GeneratorExit:
                # asyncio's loop was closed without its tasks, and this one is being freed.
                handoff.close_in_thread()
                close_apart(turns)
                _driven.discard(turns)
                raise
        if turns.open:
            handoff.stopped = True
            if turns.stop is not None:
                await self._stop_returned.wait()  # without it, the producer might not end when it is closed
            await self._run_in_thread(self._loop.threads("closing", None), turns.close_in_thread)
        _driven.discard(turns)
        self._ended = True
        self._left_or_ended.set()
        self._loop.watch.end(self._ending)
        self._ending = None  # it refers to this driver, which would keep the buffer until the next collection of garbage

    def leave(self) -> None:
        """Have the producer end, since nobody will read any more. Called by the hand-over, perhaps again."""
        if not self._left and not self._ended:
            self._left = True
            self._threads.give_up()
            self._ending = self._loop.watch.begin(self._report_that_it_goes_on)
            self._left_or_ended.set()

    async def call_stop(self) -> None:
        """Call the stop function once nobody will read any more, unless the producer has ended before."""
        await self._left_or_ended.wait()
        if self._left and self._turns.stop is not None:
            try:
                await self._loop.threads("stopping", None).run(partial(self._noted_in_thread, self._turns.stop))
            except BaseException as exc:
                if not is_cancellation(exc, self._loop.cancelled):
                    self._stop_failure = cut(exc, self._noted_in_thread.__code__)
        self._stop_returned.set()

    def failure(self) -> BaseException | None:
        """Return the exception of the producer, of its stop function, or of both."""
        failure, stop_failure, stopped = self._failure, self._stop_failure, self._handoff.stopped
        if stop_failure is None:
            return failure
        self._handoff.stopped = True  # so it counts as an error of closing
        if failure is None or not stopped:  # what the producer raised because it was interrupted does not count
            return stop_failure
        return BaseExceptionGroup("closing a producer and its stop function both failed", [failure, stop_failure])

    async def _run_in_thread(self, threads: Threads, function: Callable[[], object]) -> object:
        """Run a part of the producer. Return what it returns; None if it failed, or got no thread."""
        handoff, watch = self._handoff, self._loop.watch
        wait = watch.begin(self._report_that_it_waits, together=True) if threads.crowded else None
        clock = self._loop.clock
        asked = clock()
        began: float | None = None

        def run() -> object:
            nonlocal began
            began = clock()
            handoff.waiting = False
            watch.end(wait)
            return self._noted_in_thread(function)

        handoff.waiting = True
        try:
            return await threads.run(run)
        except NoThreadError:
            handoff.stopped = True
        except BaseException as exc:
            if is_cancellation(exc, self._loop.cancelled):
                handoff.stopped = True  # the producer asked the loop itself whether it was cancelled
            else:
                self._failure = cut(exc, self._noted_in_thread.__code__)
        finally:
            ended = clock()
            handoff.waited_seconds += (ended if began is None else began) - asked
            if began is not None:
                handoff.held_seconds += ended - began
            handoff.waiting = handoff.working = False
            watch.end(wait)
        return None

    def _noted_in_thread(self, function: Callable[[], object]) -> object:
        thread = threading.get_ident()
        self._running.add(thread)
        try:
            return function()
        finally:
            self._running.discard(thread)

    # Called by the watch, in its thread.

    def _report_that_it_waits(self) -> None:
        log.warning(
            "producer %s has waited %g s for a thread, because other producers hold all the threads of its limiter: "
            "let more of them run at once, or give those that block a stop function",
            self._turns.name,
            self._loop.watch.late,
        )

    def _report_that_it_goes_on(self) -> None:
        if self._ended:
            return
        self._handoff.overdue = True
        if not self._running:  # it waits for a thread in which it can be closed
            self._ending = self._loop.watch.begin(self._report_that_it_goes_on)
        else:
            log.warning(
                "producer %s was stopped %g s ago, and has not ended:\n%s",
                self._turns.name,
                self._loop.watch.late,
                stacks(self._running),
            )
