"""Who else wants the event loop: what tells a busy worker how often to let go of the interpreter.

A worker that is pure Python and never blocks keeps the interpreter for as long as Python lets it, 5 ms, each time that the event
loop wants it. Letting go costs the stream two switches of threads, so it is done as often as somebody else has a use for it: every
`LONG`, unless tasks that have nothing to do with streaming have run lately.

If they have, each worker keeps the interpreter for `SHORT`, or for a `SHARE` of what it was kept waiting, if that was longer than
it takes to switch between threads: the event loop is busy then, and 15 µs in each of its passes, which may take 10 ms, would be a
standstill. So workers add little to what others wait for anyway, and go on however busy the loop is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import trio

# A worker lets the event loop have the interpreter when it has used it for so long, in seconds of its processor time: at least, and
# at most.
SHORT = 0.000015
LONG = 0.005
# What the workers may take of the interpreter while others want it, in parts of what these take.
SHARE = 0.25
# So long, in seconds, each worker adds to a pass of the event loop that has little else to do.
SWITCH = 0.0002
# Other tasks have run lately if it is not longer ago than this, in seconds.
LATELY = 0.02


class Manners(trio.abc.Instrument):
    """Watches, while anything is spooled, whether tasks run that do not stream. One for each Trio run; see `manners`.

    Attributes:
        busy: The workers that want the interpreter. Each adds and removes itself.
    """

    def __init__(self) -> None:
        self._streaming: dict[trio.lowlevel.Task, int] = {}
        self._messenger: trio.lowlevel.Task | None = None
        self.busy: set[object] = set()
        self._last = 0.0  # the loop writes it; workers read it

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the time, unless this task streams, as it may have said only in this step. Called by Trio."""
        if task not in self._streaming and task is not self._messenger:
            self._last = perf_counter()

    def called_by_worker(self) -> None:
        """Note that the task that runs now is the one in which Trio runs what other threads ask for: nobody else's."""
        self._messenger = trio.lowlevel.current_task()

    def time_slice(self, yielded: float) -> float:
        """Return how long a worker may keep the interpreter, in seconds. For any thread.

        Args:
            yielded: For how long, in seconds, it let the event loop have it at last.
        """
        if perf_counter() - self._last >= LATELY:
            return LONG
        return min(LONG, max(SHORT, SHARE * (yielded / max(1, len(self.busy)) - SWITCH)))

    def enter(self, task: trio.lowlevel.Task) -> None:
        """Count a task as one that streams, until `leave` has been called as often."""
        if not self._streaming:
            trio.lowlevel.add_instrument(self)
        self._streaming[task] = self._streaming.get(task, 0) + 1

    def leave(self, task: trio.lowlevel.Task) -> None:
        """Take back an `enter`."""
        count = self._streaming.pop(task) - 1
        if count:
            self._streaming[task] = count
        elif not self._streaming:
            trio.lowlevel.remove_instrument(self)


@contextmanager
def streaming() -> Iterator[None]:
    """Count the task that runs this as one that streams, for as long as the block lasts."""
    task = trio.lowlevel.current_task()
    ours = manners()
    ours.enter(task)
    try:
        yield
    finally:
        ours.leave(task)


_manners: trio.lowlevel.RunVar[Manners] = trio.lowlevel.RunVar("trio_spool_manners")


def manners() -> Manners:
    """Return this Trio run's."""
    try:
        return _manners.get()
    except LookupError:
        made = Manners()
        _manners.set(made)
        return made
