"""Where a worker thread waits for the event loop.

Whoever wants to wait says so first and looks then, under a lock; the loop changes what the worker looks at first and takes the lock
then. So one of the two always sees the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Baton:
    """One worker parks here, and the loop lets it go on.

    Args:
        new_lock: Makes a `threading.Lock`.

    Attributes:
        parked: Whether a worker waits, or is about to. Changed under the lock.
    """

    __slots__ = ("_gate", "_lock", "parked", "yielding")

    def __init__(self, new_lock: Callable[[], Any]) -> None:
        self._lock = new_lock()
        self._gate = new_lock()  # a parked worker waits for this lock; who releases the worker releases it
        self._gate.acquire()
        self.parked = self.yielding = False

    def park_in_thread(self, unless: Callable[[], bool], patience: float = -1) -> bool:
        """Block this thread until it is released. Return False if that did not happen within `patience` seconds.

        Args:
            unless: Do not park if this is true. Whoever makes it true calls `release` afterwards if `parked` is set.
            patience: As above; -1 for ever.
        """
        with self._lock:
            self.parked = True
        if unless():
            patience = 0
        return self._wait_in_thread(patience) or unless()

    def yield_in_thread(self, ask: Callable[[], object]) -> None:
        """Block this thread until it is released, after asking the loop to do so."""
        with self._lock:
            self.parked = self.yielding = True
        ask()
        self._wait_in_thread(-1)

    def _wait_in_thread(self, patience: float) -> bool:
        if self._gate.acquire(timeout=patience):
            return True
        with self._lock:
            if self.parked:
                self.parked = False
                return False
        self._gate.acquire()
        return True

    def release(self) -> None:
        """Let the worker go on, if one waits. May be called in any thread."""
        with self._lock:
            if self.parked:
                self.parked = self.yielding = False
                self._gate.release()
