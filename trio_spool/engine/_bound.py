"""The bound on the size of a store, and what follows from it."""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

# What to do when a store is full: remove items that are little used for their size, or refuse what would make it larger.
EVICTION_POLICIES: Final = ("size-aware", "none")
# The smallest bound. With less, the pages that one transaction replaces are a large part of a file. Picked, not measured.
SMALLEST_BOUND: Final = 4 * 1024 * 1024
# The largest item, as a part of the bound: where items are larger, a file grows for want of room in one piece.
_ITEM: Final = 16
# The largest group of operations in one transaction, as a part of the bound: what a transaction frees can be used only by the next
# but one, so each of them needs room beside what is stored.
_GROUP: Final = 64
# The bytes that an operation makes a transaction write at least: a page.
_PAGE: Final = 4096


@attrs.frozen
class Bound:
    """How large a store may become.

    Attributes:
        size: Bytes that its items may take; 0 for no bound.
        evicts: Whether items are removed to keep within it. If not, what would exceed it is refused.
    """

    size: int = 0
    evicts: bool = True

    @property
    def item_size(self) -> int:
        """The bytes that one item may take."""
        return self.size // _ITEM

    @property
    def group_size(self) -> int:
        """The bytes that the operations of one transaction may store."""
        return self.size // _GROUP

    @property
    def group_operations(self) -> int:
        """The number of operations that one transaction may carry out."""
        return max(self.size // _GROUP // _PAGE, 1)


NO_BOUND: Final = Bound()


def bound_of(size: int, policy: str) -> Bound:
    """Return the bound for a size in bytes, 0 for none, and one of `EVICTION_POLICIES`.

    Raises:
        ValueError: There is no such policy, or the size is too small.
    """
    if policy not in EVICTION_POLICIES:
        raise ValueError(f"the eviction policy is {' or '.join(EVICTION_POLICIES)}; got {policy!r}")
    if size and size < SMALLEST_BOUND:
        raise ValueError(f"the smallest bound of a store is {SMALLEST_BOUND} bytes (0: no bound); got {size}")
    return Bound(size, policy == "size-aware")


class Evicted(NamedTuple):
    """An item that was removed to make room.

    Attributes:
        key: Its key.
        size: The bytes of its value.
        expiry: When it would have expired: a Unix time in whole seconds, or 0 for never.
        cas: Its CAS.
    """

    key: bytes
    size: int
    expiry: int
    cas: int
