"""Locks for which worker threads wait as long as their loop is there."""

from __future__ import annotations

import asyncio
import threading

from .._core import SpoolBrokenError

# How often a thread that waits looks whether its loop was closed, in seconds: picked, not measured.
LOOK = 1.0


class LoopLock:
    """A lock that is released by a loop. A loop may be closed before it runs what a thread has asked it for: then nobody would.

    Args:
        loop: The loop.
    """

    __slots__ = ("_lock", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lock = threading.Lock()
        self._loop = loop

    def acquire(self, timeout: float = -1) -> bool:
        """Acquire the lock. Return False if that was not possible within `timeout` seconds; -1 stands for ever.

        Raises:
            SpoolBrokenError: The loop was closed meanwhile.
        """
        if timeout >= 0:
            return self._lock.acquire(timeout=timeout)
        while not self._lock.acquire(timeout=LOOK):
            if self._loop.is_closed():
                raise SpoolBrokenError("the event loop was closed, so nobody reads this spool any more")
        return True

    def release(self) -> None:
        """Release the lock. May be called in any thread."""
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
