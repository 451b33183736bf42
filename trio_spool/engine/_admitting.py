"""What one transaction may store in a store that has a bound."""

from __future__ import annotations

from ._bound import Bound, Evicted
from ._operations import Item, Problem
from ._storage import Transaction
from ._uses import Uses


class Room:
    """What one transaction may store, and what it has stored.

    Args:
        bound: The bound of the store.
        transaction: The transaction, of which nothing was carried out yet.
        tracked: Bytes that the items took, as far as that was counted.
        taken: Bytes that they take in the store, if items are refused.
        uses: Counts what is stored.
        refuses: Whether what would exceed the bound is refused.

    Attributes:
        stored: The bytes that were stored in it, in all.
        freed: The bytes of what was removed from it.
        keys: The keys that were stored in it.
        evicted: What was removed for it.
        expired: The number of expired items that were removed for it.
        tracked: As above, with what was done in it.
    """

    def __init__(self, bound: Bound, transaction: Transaction, tracked: int, taken: int, uses: Uses, *, refuses: bool) -> None:
        self.bound = bound
        self.stored = 0
        self.freed = 0
        self.keys: set[bytes] = set()
        self.evicted: list[Evicted] = []
        self.expired = 0
        self.tracked = tracked
        self._cost = transaction.cost
        self._uses = uses
        self._before = tracked
        self._taken = taken
        self._refuses = refuses

    def admit(self, key: bytes, item: Item, old: Item | None, buried: Item | None = None) -> Problem | None:
        """Return why an item may not be stored; None if it may, and is from now on.

        Args:
            key: The key of the item.
            item: The item.
            old: What it is stored in place of.
            buried: The tombstone that it takes the place of, whose removal is noted by itself.
        """
        cost = self._cost(key, item)
        bound = self.bound
        if cost > bound.item_size and (old is None or cost > self._cost(key, old)):
            return Problem.TOO_BIG
        growth = cost - (0 if old is None else self._cost(key, old))
        if self._refuses and growth > 0 and self._is_full(growth - (0 if buried is None else self._cost(key, buried))):
            return Problem.FULL
        if bound.evicts:
            self.keys.add(key)
            self._uses.count(key)
            self.stored += cost
        self.tracked += growth
        return None

    def removed(self, key: bytes, old: Item) -> None:
        """Note that an item was deleted."""
        cost = self._cost(key, old)
        self.freed += cost
        self.tracked -= cost

    def cleared(self) -> None:
        """Note that all items were deleted."""
        self.tracked = self._before = self._taken = 0

    def _is_full(self, growth: int) -> bool:
        """Return whether there is no room for some more bytes.

        What items take in a file is pages. Where many were deleted, pages are half empty, and will be filled by other items, but
        not by all others, so there is a bound on the pages as well.
        """
        if growth <= 0:
            return False
        taken = self._taken + self.tracked - self._before
        return self.tracked + growth > self.bound.size or taken + growth > self.bound.size + self.bound.size // 5
