"""What is noted of commands beside counting: accesses of items, events for those who watch, and uses by prefix.

Most of the time nobody wants to know, so that a look at `reads_wanted` or `changes_wanted` is all that a command costs.
"""

from __future__ import annotations

from ...engine import Outcome, Problem
from ..data import Bucket
from ..shared import Shared

_STATUSES = {
    Problem.EXISTS: "exists", Problem.NOT_FOUND: "not_found", Problem.TOO_BIG: "too_large", Problem.NO_SPACE: "no_memory",
    Problem.FULL: "no_memory",
}  # fmt: skip


def reads_wanted(shared: Shared, bucket: Bucket) -> bool:
    """Whether reads in a bucket are to be noted."""
    return shared.events.fetchers or shared.prefixes.on or bucket.accesses is not None


def changes_wanted(shared: Shared) -> bool:
    """Whether stores and deletions are to be noted."""
    return shared.events.mutations or shared.events.deletions or shared.prefixes.on


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
    if shared.prefixes.on:
        uses = shared.prefixes.find(key[1:])
        uses.gets += 1
        uses.hits += found is not None
    if shared.events.fetchers:
        looked(shared, connection, key, None if found is None else found[0])


def looked(shared: Shared, connection: int, key: bytes, size: int | None) -> None:
    """Note that an item was looked for, perhaps to be changed. Call it only if reads are watched."""
    shared.events.fetched(key[1:], connection, size)


def stored(shared: Shared, connection: int, key: bytes, command: str, outcome: Outcome, ttl: int, size: int) -> None:
    """Note that an item was to be stored. Call it only if changes are wanted."""
    if shared.prefixes.on:
        shared.prefixes.find(key[1:]).sets += 1
    if shared.events.mutations:
        problem = outcome.problem
        status = "stored" if problem is None else _STATUSES.get(problem, "not_stored")
        shared.events.stored(key[1:], connection, command, status, ttl, size)


def deleted(shared: Shared, connection: int, key: bytes, command: str, outcome: Outcome) -> None:
    """Note that an item was to be deleted. Call it only if changes are wanted."""
    if shared.prefixes.on:
        shared.prefixes.find(key[1:]).deletions += 1
    if shared.events.deletions and outcome.problem is None:
        shared.events.deleted(key[1:], connection, command)
