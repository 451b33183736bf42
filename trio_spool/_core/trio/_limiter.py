"""Limiters other than Trio's own, which can't be derived from."""

from __future__ import annotations

from abc import ABC, abstractmethod


class TrioLimiter(ABC):
    """What `trio.to_thread.run_sync` and the producers of spools take in place of a `trio.CapacityLimiter`."""

    @property
    @abstractmethod
    def available_tokens(self) -> float:
        """How many more threads may run at the same time."""

    @abstractmethod
    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait until a thread may run for a borrower. If this is cancelled, it may not."""

    @abstractmethod
    def release_on_behalf_of(self, borrower: object) -> None:
        """Note that the thread of a borrower has ended."""
