"""Shares: what one bucket or one user may have of the scans, snapshots and workers, so that something is left for the others.

A share holds only where there are others. A service with one bucket gives it everything, and so does one without users to its
clients. Where there are several, one of them may have its share of a whole, rounded down, but always at least one.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..._core import TrioLimiter
from ..settings import Settings


def part_of(total: int, share: float) -> int:
    """Return how many of a whole a share is."""
    return max(1, int(total * share + 1e-9))  # 0.29 * 100 is 28.999999999999996


class Shares:
    """What one bucket and one user may have now. The event loop's thread uses it.

    Args:
        settings: Returns the settings as they are now.
        buckets: Returns the number of buckets.
        users: Returns the number of users; 0 if nobody needs to log in.
    """

    def __init__(self, settings: Callable[[], Settings], buckets: Callable[[], int], users: Callable[[], int]) -> None:
        self._settings = settings
        self._buckets = buckets
        self._users = users

    def of_bucket(self, total: int) -> int:
        """Return how many of a whole one bucket may have."""
        return part_of(total, self._settings().bucket_share) if self._buckets() > 1 else total

    def of_user(self, total: int) -> int:
        """Return how many of a whole one user may have."""
        return part_of(total, self._settings().user_share) if self._users() > 1 else total


class Workers:
    """The limiters of workers: one for all, and one for each bucket and each user that may only have a share.

    Args:
        shares: What one bucket and one user may have.
        everybody: The limiter of all workers.
    """

    def __init__(self, shares: Shares, everybody: trio.CapacityLimiter) -> None:
        self._shares = shares
        self._everybody = everybody
        self._limiters: dict[tuple[str, str], trio.CapacityLimiter] = {}  # those that are in use

    def limiter(self, bucket: str, user: str) -> trio.CapacityLimiter | Share:
        """Return the limiter for work in a bucket, for a user. An empty name stands for none."""
        total = int(self._everybody.total_tokens)
        names = []
        if user and self._shares.of_user(total) < total:
            names.append(("user", user))
        if bucket and self._shares.of_bucket(total) < total:
            names.append(("bucket", bucket))
        return Share(self, tuple(names)) if names else self._everybody

    def borrow(self, name: tuple[str, str]) -> trio.CapacityLimiter:
        """Return the limiter of a bucket or user, with as many places as it may have now."""
        total = int(self._everybody.total_tokens)
        places = self._shares.of_user(total) if name[0] == "user" else self._shares.of_bucket(total)
        limiter = self._limiters.get(name)
        if limiter is None:
            limiter = self._limiters[name] = trio.CapacityLimiter(places)
        elif limiter.total_tokens != places:
            limiter.total_tokens = places
        return limiter

    def give_back(self, name: tuple[str, str]) -> None:
        """Forget the limiter of a bucket or user if nobody uses it or waits for it."""
        limiter = self._limiters.get(name)
        if limiter is not None and not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
            del self._limiters[name]

    @property
    def waiting(self) -> int:
        """How many wait for a worker, or for a place in the share of their bucket or user."""
        limiters = (self._everybody, *self._limiters.values())
        return sum(limiter.statistics().tasks_waiting for limiter in limiters)

    @property
    def everybody(self) -> trio.CapacityLimiter:
        """The limiter of all workers."""
        return self._everybody

    def __len__(self) -> int:
        """Return the number of limiters of buckets and users that are in use."""
        return len(self._limiters)


class Share(TrioLimiter):
    """The limiter of the work of one bucket and one user: it takes a place in the share of each, and one of all workers.

    Places are taken in the same order by everybody, so nobody waits for somebody who waits for them; and that of all workers last,
    so nobody holds it while waiting.
    """

    def __init__(self, workers: Workers, names: tuple[tuple[str, str], ...]) -> None:
        self._workers = workers
        self._names = names
        self._taken: dict[object, list[trio.CapacityLimiter]] = {}

    @property
    def available_tokens(self) -> float:
        limiters = [self._workers.borrow(name) for name in self._names]
        return min(limiter.available_tokens for limiter in (*limiters, self._workers.everybody))

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        taken = self._taken[borrower] = list[trio.CapacityLimiter]()
        try:
            for name in self._names:
                limiter = self._workers.borrow(name)
                await limiter.acquire_on_behalf_of(borrower)
                taken.append(limiter)
            await self._workers.everybody.acquire_on_behalf_of(borrower)
            taken.append(self._workers.everybody)
        except BaseException:
            self.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        for limiter in reversed(self._taken.pop(borrower)):
            limiter.release_on_behalf_of(borrower)
        for name in self._names:
            self._workers.give_back(name)
