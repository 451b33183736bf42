"""How much each item is used, about: one byte for all keys with the same hash, in a table of two to four bytes for each key.

Whoever reads items appends their keys to a queue, which is one call for a whole run of reads. The writer thread counts them later.
When reads are many and writes are few, the queue drops what is oldest: what is left is a sample of the reads, and counts are only
ever compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

# Runs of keys that wait to be counted. One run is at most what one read from a socket brings, of 16 KiB. Picked, not measured.
MAX_RUNS: Final = 1024
# What one use adds. A count is halved whenever the hand of the clock passes, so eight uses are forgotten in eight turns.
USE: Final = 16
_MOST: Final = 255 - USE
_SMALLEST: Final = 1 << 12


class Uses:
    """The uses of items.

    Attributes:
        runs: Keys that were read, in runs. Any thread may append to it.
    """

    def __init__(self) -> None:
        self.runs: deque[Sequence[bytes]] = deque(maxlen=MAX_RUNS)
        self._table = bytearray(_SMALLEST)  # the writer thread's
        self._mask = _SMALLEST - 1

    def __len__(self) -> int:
        return len(self._table)

    def make_room(self, items: int) -> None:
        """Make the table large enough for some items: two bytes for each, or more."""
        while len(self._table) < 2 * items:
            self._table = self._table * 2  # each key now has one of two places, and both have its count
            self._mask = len(self._table) - 1

    def count_runs(self) -> None:
        """Count the uses that wait."""
        table, mask, runs = self._table, self._mask, self.runs
        for _ in range(len(runs)):
            for key in runs.popleft():
                place = hash(key) & mask
                if table[place] <= _MOST:
                    table[place] += USE

    def count(self, key: bytes) -> None:
        """Count one use."""
        place = hash(key) & self._mask
        if self._table[place] <= _MOST:
            self._table[place] += USE

    def of(self, key: bytes) -> int:
        """Return the count of an item."""
        return self._table[hash(key) & self._mask]

    def halve(self, key: bytes) -> int:
        """Return the count of an item, and halve it."""
        place = hash(key) & self._mask
        count = self._table[place]
        self._table[place] = count >> 1
        return count
