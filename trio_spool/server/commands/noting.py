"""What is noted of commands beside counting: accesses of items, and events for those who watch.

Most of the time nobody wants to know, so that a look at `is_wanted` is all that a read costs.
"""

from __future__ import annotations

from ...engine import Outcome, Problem
from ..data import Bucket
from ..shared import Shared

_STATUSES = {Problem.EXISTS: "exists", Problem.NOT_FOUND: "not_found", Problem.TOO_BIG: "too_large", Problem.NO_SPACE: "no_memory"}


def is_wanted(shared: Shared, bucket: Bucket) -> bool:
    """Whether reads in a bucket are to be noted."""
    return shared.events.fetchers or bucket.accesses is not None


def read(shared: Shared, bucket: Bucket, connection: int, key: bytes, found: tuple[int, int] | None, *, bump: bool = True) -> None:
    """Note that an item was read.

    Args:
        shared: What all connections share.
        bucket: The bucket.
        connection: The number of the connection.
        key: The stored key.
        found: The size of the value, and the CAS of the item; None if there is none.
        bump: Whether this counts as an access.
    """
    if found is not None and bump and bucket.accesses is not None:
        bucket.accesses.note(key, found[1])
    if shared.events.fetchers:
        shared.events.fetched(key[1:], connection, None if found is None else found[0])


def stored(shared: Shared, connection: int, key: bytes, command: str, outcome: Outcome, ttl: int, size: int) -> None:
    """Note that an item was to be stored. Call it only if mutations are watched."""
    problem = outcome.problem
    status = "stored" if problem is None else _STATUSES.get(problem, "not_stored")
    shared.events.stored(key[1:], connection, command, status, ttl, size)
