"""When items were last read, for those clients that ask.

Nobody else needs that, and noting each read costs time. So a bucket begins to note reads with the first request that asks for them,
and holds the last ones only. Nothing of it is stored: a restart forgets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Items whose last access is known. Each takes some 200 bytes, with a short key. Picked, not measured.
MAX_ITEMS: Final = 100_000


class Accesses:
    """The last read of each item that was read lately. The event loop's thread uses it.

    Args:
        size: The maximum number of items.
        clock: Returns the Unix time.
    """

    def __init__(self, size: int = MAX_ITEMS, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._last: dict[bytes, tuple[int, float]] = {}  # by key: the CAS of the item, and the time; the latest one is the last

    def __len__(self) -> int:
        """Return the number of items whose last access is known."""
        return len(self._last)

    def note(self, key: bytes, cas: int) -> None:
        """Note that the version of an item with this CAS is read."""
        last = self._last
        last.pop(key, None)
        last[key] = cas, self._clock()
        if len(last) > self._size:
            del last[next(iter(last))]

    def find(self, key: bytes, cas: int) -> float | None:
        """Return when this version of an item was last read: a Unix time, or None if nobody has been seen to read it."""
        found = self._last.get(key)
        return found[1] if found is not None and found[0] == cas else None

    def since(self, key: bytes, cas: int) -> int:
        """Return the whole seconds since an item was read, or since it was stored if nobody has been seen to read it."""
        last = self.find(key, cas)
        if last is None:
            last = cas / 1_000_000_000  # a CAS follows the time, in nanoseconds, unless a client has chosen it
        return min(max(int(self._clock() - last), 0), 0xFFFFFFFF)
