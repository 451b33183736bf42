"""How a scan gives way to writes: both need the same interpreter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ...engine import Engine

# What a write takes of the interpreter altogether, in multiples of the writer thread's time. The event loop's part of a pipelined
# SET is about twice the writer's: measured with ``nox -s bench -- beside``, as are the next two.
WRITE_COST: Final = 3.0
# The most that writes may take of the interpreter, in multiples of what a scan takes. With 8, SETs beside a scan reach 0.87 of
# their pace alone.
WRITE_SHARE: Final = 8.0
# Seconds. A shorter sleep is mostly overhead: the kernel's timer adds 50 to 100 µs.
SHORTEST_PAUSE: Final = 0.0002


class Pace:
    """Lets writes go first: without it, a scan would take half of the interpreter from them.

    Args:
        engine: The engine whose writer thread goes first.
        sleep: Sleeps for some seconds, in a worker thread.
    """

    def __init__(self, engine: Engine, sleep: Callable[[float], object] = time.sleep) -> None:
        self._engine = engine
        self._sleep = sleep
        self._seen = engine.writer_seconds
        self._debt = 0.0

    def give_way_in_thread(self, spent: float) -> None:
        """Sleep for as long as writes have needed since the last call, but only in proportion to what the scan has `spent`.

        Args:
            spent: The seconds of processor time that the scan has used since the last call.
        """
        written, self._seen = self._engine.writer_seconds - self._seen, self._engine.writer_seconds
        self._debt = min(self._debt + WRITE_COST * written, WRITE_SHARE * spent)
        if self._debt >= SHORTEST_PAUSE:
            self._sleep(self._debt)
            self._debt = 0.0
