"""The open snapshots of an engine: their maximum number, and their maximum life."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

from ._errors import TooManySnapshotsError
from ._reading import Snapshot


class SnapshotRegistry:
    """The open snapshots of an engine. Any thread may use it.

    Args:
        max_open: The maximum number of open snapshots.
        life: Seconds after which a snapshot is ended.
        clock: Returns seconds that nobody sets.

    Attributes:
        ended: The number of snapshots that were ended because of their age.
        ended_for_space: The number of snapshots that were ended because of what they kept on disk.
    """

    def __init__(self, max_open: int, life: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_open = max_open
        self._life = life
        self._clock = clock
        self._lock = threading.Lock()
        self._open: weakref.WeakKeyDictionary[Snapshot, float] = weakref.WeakKeyDictionary()  # with the end of its life
        self.ended = 0
        self.ended_for_space = 0

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self) -> None:
        """Make sure that there is room for another snapshot.

        Raises:
            TooManySnapshotsError: There is none.
        """
        if len(self._open) >= self._max_open:
            raise TooManySnapshotsError(f"the limit of {self._max_open} open snapshots is reached: close one, or wait")

    def add(self, snapshot: Snapshot) -> None:
        """Count a snapshot. Its life begins now."""
        with self._lock:
            self._open[snapshot] = self._clock() + self._life

    def discard(self, snapshot: Snapshot) -> None:
        """Forget a snapshot that is closed."""
        with self._lock:
            self._open.pop(snapshot, None)

    def oldest(self) -> Snapshot | None:
        """Return the snapshot that has been open for the longest time, or None."""
        with self._lock:
            return next(iter(self._open), None)

    def oldest_seconds(self) -> float:
        """Return for how long the oldest snapshot has been open; 0 if there is none."""
        with self._lock:
            end = next(iter(self._open.values()), None)
        return 0.0 if end is None else max(0.0, self._clock() - (end - self._life))

    def end_for_space(self, snapshot: Snapshot) -> None:
        """End a snapshot that keeps too much on disk."""
        snapshot.close()
        self.ended_for_space += 1

    def end_old(self) -> None:
        """End the snapshots whose life is over."""
        if self._open:
            now = self._clock()
            with self._lock:
                old = [snapshot for snapshot, end in self._open.items() if end <= now]
            for snapshot in old:
                snapshot.close()
                self.ended += 1

    def end_all(self) -> None:
        """End all snapshots."""
        with self._lock:
            snapshots = list(self._open)
        for snapshot in snapshots:
            snapshot.close()
