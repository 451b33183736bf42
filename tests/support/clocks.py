"""Clocks for tests."""

from __future__ import annotations


class Clock:
    """A clock that is set by hand.

    Attributes:
        now: The time, in seconds.
    """

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
