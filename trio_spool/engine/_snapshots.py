"""Which snapshots are open, how many there may be, and for how long."""

from __future__ import annotations

import threading
import time
import weakref

from ._errors import TooManySnapshotsError
from ._reading import Snapshot


class SnapshotRegistry:
    """The open snapshots of an engine.

    Args:
        most: How many may be open at once.
        life: Seconds after which one is ended.
    """

    def __init__(self, most: int, life: float) -> None:
        self._most = most
        self._life = life
        self._lock = threading.Lock()
        self._open: weakref.WeakKeyDictionary[Snapshot, float] = weakref.WeakKeyDictionary()  # monotonic deadline
        self.ended = 0  # how many were ended because of their age

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self) -> None:
        """Raise TooManySnapshotsError if there is no room for another."""
        if len(self._open) >= self._most:
            raise TooManySnapshotsError(f"{self._most} snapshots are open, which is as many as may be; close one, or wait")

    def add(self, snapshot: Snapshot) -> None:
        """Count a snapshot, from now on."""
        with self._lock:
            self._open[snapshot] = time.monotonic() + self._life

    def discard(self, snapshot: Snapshot) -> None:
        """Forget a snapshot that is closed."""
        with self._lock:
            self._open.pop(snapshot, None)

    def end_old(self) -> None:
        """End those that are past their life."""
        if self._open:
            now = time.monotonic()
            with self._lock:
                old = [snapshot for snapshot, deadline in self._open.items() if deadline <= now]
            for snapshot in old:
                snapshot.close()
                self.ended += 1

    def end_all(self) -> None:
        """End all of them."""
        with self._lock:
            snapshots = list(self._open)
        for snapshot in snapshots:
            snapshot.close()
