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

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter

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


class Manners(ABC):
    """What the streams of one event loop know of the other tasks there. Each loop has its own way to find out who has run.

    Args:
        clock: Returns the time, in seconds.

    Attributes:
        busy: The workers that want the interpreter. Each worker adds and removes itself.
        last: When something that does not stream last ran in the loop. Written by the loop, read by workers.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock = clock
        self.busy: set[object] = set()
        self.last = 0.0

    def time_slice(self, yielded: float) -> float:
        """Return how long a worker may keep the interpreter, in seconds of its processor time. May be called in any thread.

        Args:
            yielded: How long, in seconds, the worker last waited for the event loop to run.
        """
        workers = len(self.busy) or 1
        quiet = self.clock() - self.last
        return min(LONG, max(SHORT, QUIET * quiet / workers, SHARE * (yielded / workers - SWITCH)))

    @abstractmethod
    def called_by_worker(self, function: Callable[[], object]) -> None:
        """Call a function in the loop for a worker, which wakes a task that streams. This is nobody else's work."""

    @abstractmethod
    def when_others_have_run(self, release: Callable[[], None]) -> None:
        """Call a function in the loop, which lets a worker go on that has yielded, once the loop has run."""
