"""Where a document's text can be entered in the middle: how many containers are open at places a piece apart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ._json_text import Cursor


class Checkpoints:
    """Places at which an item begins, in the order of the text.

    For each place, there are its position, the brackets of the containers that are open there, and the least number that were open
    anywhere since the place before it.
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._opened: list[bytes] = []
        self._least: list[int] = []

    def add(self, position: int, opened: bytes, least: int) -> None:
        """Add a place behind all others."""
        self._positions.append(position)
        self._opened.append(opened)
        self._least.append(least)

    def next_after(self, position: int) -> int | None:
        """Return the first place behind a position."""
        index = bisect_right(self._positions, position)
        return self._positions[index] if index < len(self._positions) else None

    def last_before_closing(self, position: int, around: int) -> Cursor | None:
        """Return the last place before the next one of which we know that no more than `around` containers were open since.

        Args:
            position: Where a container is open that is inside of so many.
            around: As above.
        """
        least = self._least
        first = bisect_right(self._positions, position)
        index = next((index for index in range(first, len(least)) if least[index] <= around), len(least)) - 1
        return self._cursor(index) if index >= first else None

    def last_inside(self, begin: int, end: int) -> Cursor | None:
        """Return the last place from `begin` to `end`."""
        index = bisect_right(self._positions, end) - 1
        return self._cursor(index) if index >= 0 and self._positions[index] >= begin else None

    def last_at_depth(self, begin: int, end: int, depth: int) -> int | None:
        """Return the last position from `begin` to `end` at which so many containers are open."""
        for index in range(bisect_right(self._positions, end) - 1, -1, -1):
            if self._positions[index] < begin:
                break
            if len(self._opened[index]) == depth:
                return self._positions[index]
        return None

    def _cursor(self, index: int) -> Cursor:
        return Cursor(self._positions[index], 0, self._opened[index])

    def shift(self, begin: int, end: int, by: int) -> None:
        """Follow a change of the text: drop the places from `begin` to `end`, and move those behind."""
        positions, least = self._positions, self._least
        first, behind = bisect_left(positions, begin), bisect_right(positions, end)
        if behind < len(least):
            least[behind] = min(least[first : behind + 1])
        del positions[first:behind], self._opened[first:behind], least[first:behind]
        positions[first:] = [position + by for position in positions[first:]]
