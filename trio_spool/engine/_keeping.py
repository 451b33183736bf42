"""Keeping a store within its bound: what may be stored, and what is removed for it.

An item's worth is its use for its size, so that a large item must be used more than a small one to stay. All items stand in a ring,
in an order that the store chooses, and a hand goes round. It takes the next records into view, a *window*, removes those of the
lowest worth, and halves the use of all. So an item that nobody uses is gone after some turns, and no list has to be changed when
one is read.

What is too much is removed in the transaction that made it too much, so that both are durable together, and never more than twice
what was stored, and a bit: a store that is far above its bound, since that was lowered, shrinks in the background.
"""

from __future__ import annotations

from collections import deque
from heapq import nsmallest
from math import ceil
from typing import Final

from ._admitting import Room
from ._batch import Batch
from ._bound import NO_BOUND, Bound, Evicted
from ._interface import MayEvict, OnEvicted, anything
from ._storage import Ring, Transaction
from ._submissions import GROUP_BYTES, GROUP_OPERATIONS
from ._tombstones import is_tombstone
from ._uses import Uses

# Records that are compared with each other, and the part of them that is removed: with 16 or 256 of them, hits are hardly fewer
# or more (measured), and a removal costs less in a larger one until it has to read much.
WINDOW: Final = 64
_SHARE: Final = 1 / 8
# LMDB joins pages only when they are less than a quarter full. Where keys grow, and pages are not filled again, that takes long: so
# while items count for less than `_LOOSE` of what is allowed, and their pages are too many all the same, half of each window goes
# whose items fill less than `_SPARSE` of their pages. Measured with keys in random order: 0.8 of what is allowed, or more.
_SHARE_OF_SPARSE: Final = 1 / 2
_SPARSE: Final = 0.8
_LOOSE: Final = 0.7
# Where there is no room in the file, whole pages must become free.
_SHARE_OF_ALL: Final = 7 / 8
# What is added to the use of each item, so that the larger of two unused items goes first.
_CREDIT: Final = 2
# Bytes that a transaction may remove beside twice what it stores. Picked, not measured.
_LEAST: Final = 64 * 1024
# What items count for is an estimate. Where pages are full, it is this much more than they take.
_MAX_TRACKED: Final = 1.5
# Items that a transaction removes at most: see `EXPIRY_BATCH` for the time that takes.
_MAX_VICTIMS: Final = 2000
_MAX_EXPIRED: Final = 1000
# Windows that a transaction looks at in vain at most: where nearly everything is locked, nothing is to be had.
_MAX_IN_VAIN: Final = 16


class Keeper:
    """Keeps a store within its bound. Only the writer thread uses it, but for `limit` and `uses`.

    Args:
        ring: The items of the store; None if the store has no bound, ever.
        may_evict: Returns whether an item may be evicted, given its key and its extended attributes.
        on_evicted: Called with the items that were removed to make room.

    Attributes:
        bound: The bound.
        uses: How much each item is used.
        evictions: The number of items that were removed to make room.
        behind: Whether more is to be removed, and can be.
        stuck: Whether more is to be removed, and nothing can be, since wherever the hand looked there was what must stay. Then what
            would exceed the bound is refused: else who stores only what must stay could fill the disk.
        wanted: Bytes to remove beside that in the next transaction.
    """

    def __init__(self, ring: Ring | None = None, may_evict: MayEvict = anything, on_evicted: OnEvicted | None = None) -> None:
        self.bound = NO_BOUND
        self.uses = Uses()
        self.evictions = 0
        self.behind = False
        self.stuck = False
        self.wanted = 0
        self._ring = ring
        self._may_evict = may_evict
        self._on_evicted = on_evicted
        self._hand = b""
        # Those that are to go next: key, cost, and use when they were chosen. A transaction that stores one item needs only one.
        self._chosen: deque[tuple[bytes, int, int]] = deque()
        self._looked_at = 0  # for expired items: a Unix time
        self._tracked: int | None = None
        self._has_kept = False  # whether something had to stay among those that were chosen last

    def limit(self, bound: Bound) -> None:
        """Change the bound."""
        if self._ring is not None:
            self.bound = bound

    def begin(self, transaction: Transaction) -> Room | None:
        """Return the room in a transaction that has begun; None if there is no bound."""
        bound = self.bound
        if not bound.size:
            self._tracked, self.behind, self.stuck = None, False, False
            return None
        refuses = self.stuck or not bound.evicts
        taken = transaction.used() if self._tracked is None or refuses else 0
        tracked = taken if self._tracked is None else self._tracked
        if refuses:
            tracked = min(tracked, taken)
        return Room(bound, transaction, tracked, taken, self.uses, refuses=refuses)

    def committed(self, room: Room) -> None:
        """Note what a transaction has done that was committed."""
        self.evictions += len(room.evicted)
        self._tracked = room.tracked
        if room.evicted and self._on_evicted is not None:
            self._on_evicted(room.evicted)

    def group_limits(self) -> tuple[int, int]:
        """Return the number of operations, and the bytes of their values, from which on a group is complete."""
        bound = self.bound
        if not bound.size:
            return GROUP_OPERATIONS, GROUP_BYTES
        return min(GROUP_OPERATIONS, bound.group_operations), min(GROUP_BYTES, bound.group_size)

    def trim(self, batch: Batch, room: Room, items: int) -> None:
        """Remove what is too much, as far as one transaction may.

        Args:
            batch: What was done in the transaction.
            room: The room in it.
            items: The number of items before it.
        """
        self.behind = self.stuck = False
        if not room.bound.evicts or self._ring is None:
            return
        self.uses.make_room(items)
        self.uses.count_runs()
        used, allowed = batch.transaction.used(), self._ring.allowed(room.bound.size)
        room.tracked = min(room.tracked, int(used * _MAX_TRACKED))
        excess = max(used - allowed, room.tracked - allowed, self.wanted)
        if excess <= 0:
            return
        sparse = _SPARSE if room.tracked < allowed * _LOOSE else 0.0
        budget = max(min(excess, 2 * room.stored + _LEAST), self.wanted)
        freed = self._remove_expired(batch, room)
        in_vain = kept = 0
        while freed < budget and len(room.evicted) < _MAX_VICTIMS and in_vain < _MAX_IN_VAIN:
            found = self._evict_some(batch, room, budget - freed, sparse)
            freed += found
            in_vain = 0 if found else in_vain + 1
            kept = 0 if found else kept + self._has_kept
        # A ring may know of keys that are gone, or are locked for a moment. That is no reason to refuse anything.
        self.stuck = kept == _MAX_IN_VAIN
        self.behind = freed < excess and in_vain < _MAX_IN_VAIN

    def _remove_expired(self, batch: Batch, room: Room) -> int:
        """Remove expired items, and return how many bytes they took. Expiries are whole seconds, so one look in each is enough."""
        second = int(batch.now)
        if second == self._looked_at:
            return 0
        before = room.freed
        removed = batch.remove_expired(_MAX_EXPIRED)
        room.expired += removed.items
        if not removed.more:
            self._looked_at = second
        return room.freed - before

    def _evict_some(self, batch: Batch, room: Room, budget: int, sparse: float) -> int:
        """Remove some items that were chosen, and return how many bytes they took. If none is left, choose some."""
        if not self._chosen:
            self._choose(room, sparse)
        freed = 0
        self._has_kept = False
        while self._chosen and freed < budget:
            key, cost, count = self._chosen.popleft()
            if key in room.keys or self.uses.of(key) > count:
                continue  # it was used since it was chosen
            evicted = self._evict(batch, key)
            if evicted is not None:
                room.evicted.append(evicted)
                freed += cost
        return freed

    def _choose(self, room: Room, sparse: float) -> None:
        """Choose the items of the lowest worth in the next window."""
        costs, fill = self._next_window()
        halve = self.uses.halve
        worths = []
        for key, cost in costs.items():
            count = halve(key)
            if key not in room.keys:
                worths.append(((count + _CREDIT) / cost, key, cost, count >> 1))
        share = _SHARE_OF_ALL if self.wanted else _SHARE_OF_SPARSE if fill < sparse else _SHARE
        self._chosen.extend((key, cost, count) for _, key, cost, count in nsmallest(ceil(len(worths) * share), worths))

    def _next_window(self) -> tuple[dict[bytes, int], float]:
        """Return the costs of the items in the next window, over the end of the ring as well, and the part of pages they fill."""
        assert self._ring is not None
        window = self._ring.window(self._hand, WINDOW)
        costs, fill = dict(window.costs), window.fill
        if len(costs) < WINDOW and not window.following:
            window = self._ring.window(b"", WINDOW - len(costs))
            costs.update(window.costs)
        self._hand = window.following
        return costs, fill

    def _evict(self, batch: Batch, key: bytes) -> Evicted | None:
        """Remove an item, unless it must stay, or is gone."""
        if batch.is_locked(key):
            return None
        old = batch.stored(key)
        if old is None:
            return None
        if is_tombstone(key) or not self._may_evict(key, old.xattrs):
            self._has_kept = True
            return None
        batch.remove(key, old)
        return Evicted(key, len(old.value), old.expiry, old.cas)
