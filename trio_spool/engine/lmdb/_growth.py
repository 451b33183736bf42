"""A bound on what open snapshots make the file grow.

LMDB uses a page again once no snapshot needs it any more. While one is open, every page that is overwritten stays, and the file
grows by what is written; and a file of LMDB never shrinks. So a snapshot that holds too much is ended, the oldest one first.

LMDB does not tell what a single snapshot holds. It tells how many pages the last commit needs, and how long the file is. The rest
is held, or it is merely free, and after a large deletion much is; but as long as there are free pages, the file does not grow. So a
snapshot is ended if two things are true: the file has grown since the last look, while the same snapshot was the oldest one; and
more of it is unneeded than is allowed. LMDB then uses the pages that this snapshot held before the file grows again, so the others
are left alone unless they hold too much as well.

A look takes 5 to 35 µs (measured), after each group of operations and only while a snapshot is open.
"""

from __future__ import annotations

import logging
import weakref

from .._errors import EngineError
from .._snapshots import SnapshotRegistry
from ._storage import LmdbStorage, Usage

_log = logging.getLogger("trio_spool.engine")


class GrowthLimit:
    """Ends the snapshots that keep too much on disk. Only the writer thread calls `check`.

    Args:
        storage: The environment.
        registry: Its snapshots.
        limit: Bytes that snapshots may always keep.

    Attributes:
        limit: As above. Any thread may change it.
    """

    def __init__(self, storage: LmdbStorage, registry: SnapshotRegistry, limit: int) -> None:
        self._storage = storage
        self._registry = registry
        self.limit = limit
        # As of the last look: the oldest snapshot, and the bytes of the file.
        self._oldest: weakref.ref[object] | None = None
        self._disk = 0

    def max_held(self, usage: Usage) -> int:
        """Return the number of unneeded bytes from which on a file that grows ends the oldest snapshot."""
        return max(self.limit, usage.live)

    def check(self) -> None:
        """Look, and end the oldest snapshot if it keeps too much."""
        oldest = self._registry.oldest()
        if oldest is None:
            self._oldest = None
            return
        try:
            usage = self._storage.measure()
            watched = self._oldest is not None and self._oldest() is oldest
            if watched and usage.disk > self._disk and usage.disk - usage.live > self.max_held(usage):
                self._storage.forget_dead_readers()
                self._registry.end_for_space(oldest)
                _log.info("ended a snapshot: %d of %d bytes of the file are unused", usage.disk - usage.live, usage.disk)
                oldest = self._registry.oldest()
        except EngineError:
            return  # at the next group, there is another look
        self._oldest = None if oldest is None else weakref.ref(oldest)
        self._disk = usage.disk
