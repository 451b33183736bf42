"""Tombstones: what is kept of a document that does not exist, but has extended attributes.

Transactions of Couchbase's SDKs stage an insert in the attributes of a document that is created as a deleted one. Only those who
ask for deleted documents see it, until the commit revives it. It is stored as an item without a value, under the document's key
with a prefix, and expires when it is to be purged. So a flush, a copy, a restart and the sweep for expired items treat it as they
treat items. A key has a live item or a tombstone, never both: whatever stores an item removes the tombstone.

An ordinary deletion leaves no tombstone.

What makes room in a store must leave alone whatever `is_tombstone` tells, and items in whose attributes an unfinished transaction
is recorded: `EngineOptions.may_evict` tells of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from ._operations import Chunk, Item

# What the stored keys of tombstones begin with, and no other key: the id of a collection that Couchbase reserves.
TOMBSTONE_PREFIX: Final = b"\x01"
# The first key behind those of tombstones.
BEHIND: Final = b"\x02"
# Seconds until a tombstone that nobody changes is purged: Couchbase's default interval.
LIFE: Final = 3 * 24 * 60 * 60.0

_T = TypeVar("_T")


class Tombstone(Item):
    """The item of a document that does not exist. Its expiry is the time of the purge."""

    __slots__ = ()


def is_tombstone(stored_key: bytes) -> bool:
    """Return whether what is stored under a key is a tombstone."""
    return stored_key.startswith(TOMBSTONE_PREFIX)


def divide(by_space: Mapping[bytes, _T]) -> tuple[dict[bytes, _T], dict[bytes, _T]]:
    """Return what is known of the spaces of items, and of those of tombstones, which get the names that they have for items."""
    items = {space: value for space, value in by_space.items() if not is_tombstone(space)}
    tombstones = {space[len(TOMBSTONE_PREFIX) :]: value for space, value in by_space.items() if is_tombstone(space)}
    return items, tombstones


def spaces_of_tombstones(by_space: Mapping[bytes, _T]) -> Iterable[tuple[bytes, _T]]:
    """Return what is known of spaces of tombstones with the names under which it is stored."""
    return ((TOMBSTONE_PREFIX + space, value) for space, value in by_space.items())


def read_around(read: Callable[[bytes, bytes | None], Chunk], start: bytes, end: bytes | None) -> Chunk:
    """Read records from the key `start` on, and up to `end`, but no tombstones.

    Args:
        read: Reads records between two keys.
        start: The first key.
        end: The key before which to stop; None for no end.
    """
    if is_tombstone(start):
        start = BEHIND
    if start >= TOMBSTONE_PREFIX or (end is not None and end <= TOMBSTONE_PREFIX):
        return read(start, end)
    chunk = read(start, TOMBSTONE_PREFIX)
    if chunk.following is not None or (end is not None and end <= BEHIND):
        return chunk
    return chunk._replace(following=BEHIND) if chunk.records else read(BEHIND, end)
