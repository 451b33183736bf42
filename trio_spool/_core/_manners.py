"""Manners: how long a busy worker may keep the interpreter while other tasks want the event loop.

A worker that is pure Python and never blocks keeps the interpreter for as long as Python lets it, 5 ms, each time that the event
loop wants it. Letting go costs the stream two switches of threads, so a worker does it only as often as other tasks need the event
loop. A worker keeps the interpreter for the longest of these:

- `SHORT`.
- A part, `QUIET`, of the time for which nothing but streams has run in the event loop: a task that has slept for that long, waiting
  for a client for instance, can wait a little longer. So a stream that is alone keeps the interpreter nearly all the time, and so
  does one beside a task that runs now and then.
- A part, `SHARE`, of the time for which tasks that do not stream have run since the worker last let go. The event loop is then
  busy, and a stream with 15 µs in each of its passes would come to a standstill.

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
# The part of others' time. Measured: with none, a stream beside fifty connections that asked without a pause fell from 300,000
# keys a second to 500. When the worker's waiting time was taken in place of others' time, it had a tenth of its pace alone.
SHARE = 0.35


class Manners(ABC):
    """What the streams of one event loop know of the other tasks there. Each loop has its own way to find out who has run.

    Args:
        clock: Returns the time, in seconds.

    Attributes:
        busy: The workers that want the interpreter. Each worker adds and removes itself.
        last: When something that does not stream last ran in the loop. Written by the loop, read by workers.
        others: For how long such things have run so far, in seconds. Written by the loop, read by workers.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock = clock
        self.busy: set[object] = set()
        self.last = 0.0
        self.others = 0.0

    def time_slice(self, others: float) -> float:
        """Return how long a worker may keep the interpreter, in seconds of its processor time. May be called in any thread.

        Args:
            others: For how long, in seconds, others have run since the worker last let go of the interpreter.
        """
        workers = len(self.busy) or 1
        quiet = self.clock() - self.last
        return min(LONG, max(SHORT, QUIET * quiet / workers, SHARE * others / workers))

    @abstractmethod
    def called_by_worker(self, function: Callable[[], object]) -> None:
        """Call a function in the loop for a worker, which wakes a task that streams. This is nobody else's work."""

    @abstractmethod
    def when_others_have_run(self, release: Callable[[], None]) -> None:
        """Call a function in the loop, which lets a worker go on that has yielded, once the loop has run."""
