"""Noticing what takes too long. One thread looks at everything that waits, whatever loop it belongs to.

The clock of a loop would not do: a loop may be too busy to look, and the clock of a test may run ahead of the threads.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable

import trio

log = logging.getLogger("trio_spool")

# How long a producer may take to end, or to get a thread, in seconds, before it is called late. Picked, not measured: most queries
# and child processes end sooner, and whoever looks for the reason of a stop has not given up yet.
LATE = 5.0


class Wait:
    """Something that should not take long.

    Args:
        end: When it has taken too long, by the monotonic clock.
        report: Called in another thread if it takes too long.
        together: Whether to report only the first one of those that last at the same time.
    """

    __slots__ = ("end", "report", "together")

    def __init__(self, end: float, report: Callable[[], object], together: bool) -> None:
        self.end = end
        self.report = report
        self.together = together


class Watch:
    """Reports waits that take too long. Its methods may be called in any thread.

    Args:
        late: How long a wait may take, in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(self, late: float = LATE, sleep: Callable[[float], object] = time.sleep) -> None:
        self.late = late
        self._sleep = sleep
        self._lock = threading.Lock()  # held for all that follows
        self._waits: dict[Wait, None] = {}  # in the order of their ends
        self._lasting: set[Wait] = set()  # those to be reported together that have taken too long, and last
        self._looking = False  # whether there is a thread

    def begin(self, report: Callable[[], object], *, together: bool = False) -> Wait:
        """Return a wait that begins now. `end` must be called for it."""
        wait = Wait(time.monotonic() + self.late, report, together)
        with self._lock:
            self._waits[wait] = None
            if not self._looking:
                self._looking = True
                trio.lowlevel.start_thread_soon(self._look_in_thread, lambda _: None, "trio_spool watch")
        return wait

    def end(self, wait: Wait | None) -> None:
        """End a wait, if there is one. Its report may be on its way."""
        if wait is None:
            return
        with self._lock:
            self._waits.pop(wait, None)
            was_last = self._lasting == {wait}
            self._lasting.discard(wait)
        if was_last:
            log.info("no producer waits long for a thread any more")

    def _look_in_thread(self) -> None:
        while (wait := self._next_in_thread()) is not None:
            self._sleep(max(0.0, wait.end - time.monotonic()))
            if self._is_due_in_thread(wait):
                wait.report()
            del wait

    def _next_in_thread(self) -> Wait | None:
        with self._lock:
            self._looking = bool(self._waits)
            return next(iter(self._waits), None)

    def _is_due_in_thread(self, wait: Wait) -> bool:
        with self._lock:
            if wait not in self._waits:
                return False
            del self._waits[wait]
            is_first = not self._lasting
            if wait.together:
                self._lasting.add(wait)
            return is_first or not wait.together


def stacks(threads: Iterable[int]) -> str:
    """Return the stacks of threads, as they are printed in tracebacks."""
    frames = sys._current_frames()
    return "\n".join("".join(traceback.format_stack(frames[thread])) for thread in threads if thread in frames)
