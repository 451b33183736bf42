"""Manners: how long a busy worker may keep the interpreter while other tasks want the event loop.

A worker that is pure Python and never blocks keeps the interpreter for as long as Python lets it, 5 ms, each time that the event
loop wants it. Letting go costs the stream two switches of threads, so a worker does it only as often as other tasks need the event
loop. A worker keeps the interpreter for the longest of these:

- `SHORT`.
- A part, `QUIET`, of the time for which nothing but streams has run in the event loop: a task that has slept for that long, waiting
  for a client for instance, can wait a little longer. So a stream that is alone keeps the interpreter nearly all the time, and so
  does one beside a task that runs now and then.
- A part, `SHARE`, of the time for which it was kept waiting, if that was longer than a switch of threads takes: the event loop is
  then busy. A pass of a busy loop may take 10 ms, and a stream with 15 µs in each pass would come to a standstill.

Several workers share the time that one worker would have. None keeps the interpreter for longer than `LONG`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import trio

# The shortest slice, in seconds of a worker's processor time. Measured with an echo connection beside two busy producers on two
# cores: with 50 µs, the echo took 0.69 ms; 20 µs was better, and 15 µs was chosen later, when requests were read sooner.
SHORT = 0.000015
# The longest slice, in seconds of processor time: Python's own switch interval.
LONG = 0.005
# The part of the quiet time. Measured: when any step of another task meant the shortest slice for the next 20 ms, a task that slept
# for 15 ms at a time took 97 % of a stream's speed. A tenth itself was picked, not measured.
QUIET = 0.1
# The part of the waiting time. Measured: with none, a stream beside fifty connections that asked without a pause fell from 300,000
# keys a second to 500. A quarter itself was picked, not measured.
SHARE = 0.25
# Roughly the time, in seconds, that each worker adds to a pass of an event loop that has little else to do: picked, not measured.
SWITCH = 0.0002


class Manners(trio.abc.Instrument):
    """Notes, while anything is spooled, when tasks run that do not stream. One for each Trio run; see `manners`.

    A task that was woken in a step of a streaming task counts as streaming for one step: it was given a batch, or bytes to send.

    Args:
        clock: Returns the time, in seconds.

    Attributes:
        busy: The workers that want the interpreter. Each worker adds and removes itself.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._streaming: dict[trio.lowlevel.Task, int] = {}
        self._following: set[trio.lowlevel.Task] = set()  # tasks whose next step follows from what a stream did
        self._ours = False  # whether the step that runs belongs to a stream, or follows from one
        self._messenger: trio.lowlevel.Task | None = None
        self.busy: set[object] = set()
        self._last = 0.0  # when a task that does not stream last ran; written by the loop, read by workers

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note a task that a stream wakes. Called by Trio."""
        if self._ours:
            self._following.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note whether the step that begins belongs to a stream. Called by Trio."""
        self._ours = task in self._following or task in self._streaming
        self._following.discard(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the time, unless the task streams; it may have begun to do so in this step. Called by Trio."""
        if not self._ours and task not in self._streaming and task is not self._messenger:
            self._last = self._clock()
        self._ours = False

    def called_by_worker(self) -> None:
        """Note that Trio runs the calls of other threads in the current task: it does not count as another task."""
        self._messenger = trio.lowlevel.current_task()

    def time_slice(self, yielded: float) -> float:
        """Return how long a worker may keep the interpreter, in seconds. May be called in any thread.

        Args:
            yielded: How long, in seconds, the worker last waited for the event loop to run.
        """
        workers = len(self.busy) or 1
        quiet = self._clock() - self._last
        return min(LONG, max(SHORT, QUIET * quiet / workers, SHARE * (yielded / workers - SWITCH)))

    def enter(self, task: trio.lowlevel.Task) -> None:
        """Count the current task as streaming, until `leave` has been called as often as `enter`."""
        if not self._streaming:
            trio.lowlevel.add_instrument(self)
        self._ours = True
        self._streaming[task] = self._streaming.get(task, 0) + 1

    def leave(self, task: trio.lowlevel.Task) -> None:
        """Undo one `enter`."""
        count = self._streaming.pop(task) - 1
        if count:
            self._streaming[task] = count
        elif not self._streaming:
            trio.lowlevel.remove_instrument(self)
            self._following.clear()


@contextmanager
def streaming() -> Iterator[None]:
    """Count the current task as streaming for as long as the block lasts."""
    task = trio.lowlevel.current_task()
    ours = manners()
    ours.enter(task)
    try:
        yield
    finally:
        ours.leave(task)


_manners: trio.lowlevel.RunVar[Manners] = trio.lowlevel.RunVar("trio_spool_manners")


def manners() -> Manners:
    """Return the `Manners` of this Trio run."""
    try:
        return _manners.get()
    except LookupError:
        made = Manners()
        _manners.set(made)
        return made
