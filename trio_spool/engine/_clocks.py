"""The three clocks of an engine: the Unix time, a clock that nobody sets, and the hybrid time, which never goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_NANOSECONDS = 10**9


class Moment(NamedTuple):
    """One moment, by each clock.

    Attributes:
        wall: The Unix time in seconds. Expiries are compared with it, since they are Unix times and survive restarts.
        steady: Seconds of a clock that nobody sets. Durations, such as those of locks, are measured with it.
        hybrid: The hybrid time in nanoseconds, which CAS values follow.
    """

    wall: float
    steady: float
    hybrid: int


class Clocks:
    """The clocks of an engine. Any thread may read them.

    The hybrid time is the greatest Unix time that could have been read so far, had nobody set the clock back: it advances with the
    steady clock, and follows the Unix time where that is ahead. So the difference between two CAS values, and between a CAS and the
    hybrid time, is a duration, even if somebody sets the clock back in between.

    Args:
        wall: Returns the Unix time in seconds.
        steady: Returns seconds of a clock that nobody sets.
        hybrid: A hybrid time, in nanoseconds, that is not to be undercut: the CAS of the last commit.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float], hybrid: int = 0) -> None:
        self.wall = wall
        self.steady = steady
        # The hybrid time minus the steady one. Two threads that write it at once may undo the other's increase, which the next
        # reading makes good; the CAS of the last commit is a bound of its own.
        self._ahead = hybrid - int(steady() * _NANOSECONDS)

    def now(self) -> Moment:
        """Read all clocks."""
        wall, steady = self.wall(), self.steady()
        return Moment(wall, steady, self._hybrid(wall, steady))

    def hybrid(self) -> int:
        """Return the hybrid time in nanoseconds."""
        return self._hybrid(self.wall(), self.steady())

    def _hybrid(self, wall: float, steady: float) -> int:
        elapsed = int(steady * _NANOSECONDS)
        self._ahead = ahead = max(self._ahead, int(wall * _NANOSECONDS) - elapsed)
        return ahead + elapsed
