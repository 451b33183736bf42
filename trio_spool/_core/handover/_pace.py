"""When a worker looks at the clock, and when it lets the event loop run.

Each look at a thread's processor time is a system call, so a worker looks only after so many bytes. How many adapts to how fast it
emits: a few looks in each of its time slices.
"""

from __future__ import annotations

from .._loop import Loop

# A worker whose slice is shorter than this many seconds is hurried: something else wants the event loop. Picked, not measured.
_HURRIED = 0.001
# The bytes between the first two looks at the clock: picked, not measured. The number adapts.
_FIRST = 4096


class Pace:
    """The pace of one worker. Used in the worker thread only.

    Args:
        loop: Whose manners and clocks it follows.
        most: The maximum number of bytes between two looks.

    Attributes:
        look_bytes: After how many more bytes to ask `is_due`.
        hurried: Whether something else wants the event loop, as of the last look.
    """

    __slots__ = ("_held_since", "_looked_at", "_loop", "_most", "_others_at", "hurried", "look_bytes")

    def __init__(self, loop: Loop, most: int) -> None:
        self._loop = loop
        self._most = most
        self.look_bytes = _FIRST
        self.hurried = False
        self._held_since = self._looked_at = 0.0  # of the processor time: when it last let go of the interpreter, and looked
        self._others_at = 0.0  # how long others had run when it let go, as the manners count it

    def begin(self) -> None:
        """Note that the worker begins to run."""
        self._held_since = self._looked_at = self._loop.thread_clock()

    def is_due(self) -> bool:
        """Return whether it is time to let the event loop run."""
        now = self._loop.thread_clock()
        manners = self._loop.manners
        time_slice = manners.time_slice(manners.others - self._others_at)
        self.hurried = time_slice < _HURRIED
        elapsed = now - self._looked_at
        self._looked_at = now
        if elapsed > time_slice / 2:
            self.look_bytes = max(1, self.look_bytes // 2)
        elif elapsed < time_slice / 8:
            self.look_bytes = min(self._most, self.look_bytes * 2)
        return now - self._held_since > time_slice

    def let_go(self) -> None:
        """Note that the worker lets the event loop run."""
        self._others_at = self._loop.manners.others
