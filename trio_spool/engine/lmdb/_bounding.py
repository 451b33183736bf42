"""Keeping the file of a store within its bound.

LMDB makes the file longer when it finds no free page, or not as many in one piece as a large value needs. So its map, behind which
it never writes, is made as large as the file may become, and it is LMDB itself that tells when there is no room. Then, in this
order, snapshots are ended, what was committed is synced (with ``everysec``, what was freed since the last sync can't be used), and
more is evicted, until there is room, or a large enough piece of it. Only if all that does not help, the file grows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .._bound import NO_BOUND
from .._keeping import Keeper
from ._growth import GrowthLimit
from ._mapping import MAPPED
from ._ring import MAX_MAP
from ._storage import LmdbStorage
from ._transaction import PAGE

# How often more is evicted for one group, a part of the bound each time. Measured with values of up to a sixteenth of the bound
# among small ones: a few times.
_MAX_TRIES: Final = 16


class FileBound:
    """Keeps the file within its bound. Only the writer thread uses it.

    Args:
        storage: The environment.
        growth: Ends snapshots.
        keeper: Knows the bound.
        evict: Evicts items of some bytes, in transactions of its own, and returns whether there were any.
        syncs: Whether the policy is ``everysec``.
    """

    def __init__(
        self, storage: LmdbStorage, growth: GrowthLimit, keeper: Keeper, evict: Callable[[int], bool], *, syncs: bool
    ) -> None:
        self._storage = storage
        self._growth = growth
        self._keeper = keeper
        self._evict = evict
        self._syncs = syncs
        self._followed = NO_BOUND
        self._tries = 0
        storage.make_room = self._make_room

    def follow(self) -> None:
        """Take over another bound, after each group."""
        self._tries = 0
        bound = self._keeper.bound
        if bound is not self._followed:
            self._followed = bound
            if bound.size:
                self._set_map(int(bound.size * MAX_MAP) // PAGE * PAGE)

    def _set_map(self, size: int) -> bool:
        """Let the map have another size, or the smallest one above that of the file. Return whether it has changed."""
        storage = self._storage
        before = storage.env.info()["map_size"]
        if size != before:
            with storage.nobody_reading(), suppress(*MAPPED):
                storage.env.set_mapsize(size)
        return bool(storage.env.info()["map_size"] != before)

    def _make_room(self) -> bool:
        """Do something for room in the map, and return whether it is worth another try."""
        bound = self._keeper.bound
        if not (bound.size and bound.evicts):
            return False
        if self._growth.end_all():
            return True
        if self._syncs and self._storage.unsynced:
            self._storage.checkpoint()
            return True
        self._tries += 1
        if self._tries <= _MAX_TRIES and self._evict(bound.group_size):
            return True
        return self._set_map(self._storage.env.info()["map_size"] + bound.group_size // PAGE * PAGE)
