"""Who else wants the event loop: what tells a busy worker how often to let go of the interpreter.

A worker that is pure Python and never blocks keeps the interpreter for as long as Python lets it, 5 ms, each time that the event
loop wants it. Letting go costs the stream two switches of threads, so it is done as often as somebody else has a use for it. A
worker keeps the interpreter for the longest of these:

- `SHORT`.
- A part, `QUIET`, of the time for which nothing has run in the event loop but streams: whoever has waited that long, for a client
  for instance, does not mind a little more. So a stream alone has its thread to itself, and one beside a task that runs now and
  then very nearly so.
- A part, `SHARE`, of what it was kept waiting, if that was longer than it takes to switch between threads: the event loop is busy,
  and 15 µs in each of its passes, which may take 10 ms, would be a standstill.

What several workers keep together is one worker's; none keeps it for longer than `LONG`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import trio

# In seconds of a worker's processor time.
SHORT = 0.000015
LONG = 0.005
QUIET = 0.1
SHARE = 0.25
# So long, in seconds, each worker adds to a pass of the event loop that has little else to do.
SWITCH = 0.0002


class Manners(trio.abc.Instrument):
    """Watches, while anything is spooled, when tasks run that do not stream. One for each Trio run; see `manners`.

    A task does not, for one step, if it was woken in a step of one that streams: it was given a batch, or bytes to send.

    Args:
        clock: Tells the time, in seconds.

    Attributes:
        busy: The workers that want the interpreter. Each adds and removes itself.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._streaming: dict[trio.lowlevel.Task, int] = {}
        self._following: set[trio.lowlevel.Task] = set()  # tasks whose next step follows from what a stream did
        self._ours = False  # the step that runs is a stream's, or follows from one
        self._messenger: trio.lowlevel.Task | None = None
        self.busy: set[object] = set()
        self._last = 0.0  # the loop writes it; workers read it

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note who is woken by a stream. Called by Trio."""
        if self._ours:
            self._following.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note whose step begins. Called by Trio."""
        self._ours = task in self._following or task in self._streaming
        self._following.discard(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the time, unless this task streams, as it may have said only in this step. Called by Trio."""
        if not self._ours and task not in self._streaming and task is not self._messenger:
            self._last = self._clock()
        self._ours = False

    def called_by_worker(self) -> None:
        """Note that the task that runs now is the one in which Trio runs what other threads ask for: nobody else's."""
        self._messenger = trio.lowlevel.current_task()

    def time_slice(self, yielded: float) -> float:
        """Return how long a worker may keep the interpreter, in seconds. For any thread.

        Args:
            yielded: For how long, in seconds, it let the event loop have it at last.
        """
        workers = len(self.busy) or 1
        quiet = self._clock() - self._last
        return min(LONG, max(SHORT, QUIET * quiet / workers, SHARE * (yielded / workers - SWITCH)))

    def enter(self, task: trio.lowlevel.Task) -> None:
        """Count the task that runs as one that streams, until `leave` has been called as often."""
        if not self._streaming:
            trio.lowlevel.add_instrument(self)
        self._ours = True
        self._streaming[task] = self._streaming.get(task, 0) + 1

    def leave(self, task: trio.lowlevel.Task) -> None:
        """Take back an `enter`."""
        count = self._streaming.pop(task) - 1
        if count:
            self._streaming[task] = count
        elif not self._streaming:
            trio.lowlevel.remove_instrument(self)
            self._following.clear()


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
