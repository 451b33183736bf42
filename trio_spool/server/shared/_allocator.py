"""Giving memory back to the system once connections that moved a lot have ended.

What a connection held is freed when it ends. But the C library keeps freed blocks of up to 32 MiB in its heap, for the next ones: a
server that had a few hundred megabytes in flight for a moment would look as large as that for ever. The GNU C library can be asked
to give back the pages between the blocks that are in use; other ones do so by themselves, or not at all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import trio

# Bytes that connections which have ended must have moved since the last time. Picked, not measured: less is not worth the call.
LEAST: Final = 8 * 1024 * 1024


def find_trim() -> Callable[[], object] | None:
    """Return a function that gives back what can be given back, or None if this system has none."""
    try:
        function: Any = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_size_t]
    return lambda: function(0)


class Allocator:
    """Decides when memory is given back. The event loop's thread uses it.

    Args:
        trim: Gives it back, in a worker thread; None if nothing can.
    """

    def __init__(self, trim: Callable[[], object] | None = None) -> None:
        self._trim = trim
        self._limiter = trio.CapacityLimiter(1)
        self._moved = 0

    def ended(self, moved: int) -> None:
        """Take note that a connection has ended which had read and written so many bytes."""
        self._moved += moved

    async def tidy(self) -> None:
        """Give memory back if that is worth it. Call it now and then."""
        if self._trim is not None and self._moved >= LEAST:
            self._moved = 0
            await trio.to_thread.run_sync(self._trim, limiter=self._limiter)
