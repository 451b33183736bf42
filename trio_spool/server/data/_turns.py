"""Turns: who works on the same key waits for the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Turns:
    """Locks by key, which exist as long as somebody has or wants them. For tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: dict[bytes, trio.Lock] = {}

    def __len__(self) -> int:
        """Return the number of keys on which somebody works."""
        return len(self._locks)

    @asynccontextmanager
    async def take(self, key: bytes) -> AsyncIterator[None]:
        """Return a block in which nobody else has the turn of this key. The first who comes has it first."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = trio.Lock()
        try:
            async with lock:
                yield
        finally:
            statistics = lock.statistics()
            if not statistics.locked and not statistics.tasks_waiting and self._locks.get(key) is lock:
                del self._locks[key]
