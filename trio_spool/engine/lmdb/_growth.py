"""A bound on what open snapshots make the file grow.

LMDB uses a page again once no snapshot needs it any more. While one is open, every page that is overwritten stays, and the file
grows by what is written; and a file of LMDB never shrinks. So a snapshot that holds too much is ended, the oldest one first.

LMDB does not tell what a snapshot holds. It tells how long the file is (2 to 4 µs, measured), and how many pages the last commit
needs (20 µs). The rest is held, or it is merely free: after a large deletion much is, and among large items there are gaps that are
too small for the next one. So there are two looks:

- after each group of operations, while a snapshot is open: whether the file has grown, and then, whether more of it is unneeded
  than is allowed;
- only if so: how much the oldest snapshot holds, as the file's own list of free pages says, which has the transaction that freed
  each. This takes a while, so a part of the list is read after each group, and the list again only when the file has grown more.

As long as there are free pages that can be used, the file does not grow, and no snapshot is ended.

Where the store has a bound, so has its file: when it grows beyond that while snapshots are open, all of them are ended.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from .._errors import CopyError, EngineError
from .._reading import Snapshot
from .._snapshots import SnapshotRegistry
from ._database import DATABASE
from ._file import UnknownFileError, held_bytes
from ._reading import LmdbSnapshot
from ._storage import LmdbStorage
from ._usage import Usage

_log = logging.getLogger("trio_spool.engine")

# Pages of the list of free pages that are read after one group. Measured: 2 to 4 ms, for which the next group waits.
_PAGES = 16
# The part of what is allowed by which the file must have grown before the list is read again. Picked, not measured.
_STEP = 32


class GrowthLimit:
    """Ends the snapshots that keep too much on disk. Only the writer thread calls `check`.

    Args:
        path: The data directory.
        storage: The environment.
        registry: Its snapshots.
        limit: Bytes that snapshots may always keep.

    Attributes:
        limit: As above. Any thread may change it.
        max_length: Bytes of the file from which on it must not grow because of snapshots; 0 for no such length. Likewise.
    """

    def __init__(self, path: Path, storage: LmdbStorage, registry: SnapshotRegistry, limit: int) -> None:
        self._file = path / DATABASE
        self._storage = storage
        self._registry = registry
        self.limit = limit
        self.max_length = 0
        self._generation = 0  # of copies that have not been given up
        self._length = 0  # after the group before
        self._oldest: weakref.ref[Snapshot] | None = None  # as of the last look
        self._disk = 0  # the bytes of the file beyond which the oldest snapshot is looked at
        self._held: Iterator[int] | None = None  # what it holds, while that is being found out

    def max_held(self, usage: Usage) -> int:
        """Return the bytes that snapshots may keep."""
        return max(self.limit, usage.live)

    def check(self) -> None:
        """Look, and end the oldest snapshot if it keeps too much."""
        oldest = self._registry.oldest()
        if oldest is None:
            self._oldest = self._held = None
            if not self.max_length:
                return
        try:
            length = self._storage.length()
            before, self._length = self._length, length
            if oldest is None:
                return
            if 0 < self.max_length < length and length > before:
                self.end_all()
            elif self._oldest is None or self._oldest() is not oldest:
                self._watch(oldest, length)
            elif self._held is not None or length > self._disk:
                usage = self._storage.measure()
                if self._keeps_too_much(oldest, usage):
                    self._storage.forget_dead_readers()
                    self._registry.end_for_space(oldest)
                    _log.info("ended a snapshot: %d of %d bytes of the file are unused", usage.disk - usage.live, usage.disk)
                    self._watch(self._registry.oldest(), usage.disk)
        except EngineError:
            pass  # after the next group, there is another look

    def guard(self, take: Callable[[bytes], object]) -> Callable[[bytes], object]:
        """Return a function that does what `take` does while a copy is made, which keeps as much as a snapshot does.

        It raises CopyError once the file has grown too much for that.
        """
        began, generation = self._storage.length(), self._generation

        def take_unless_grown(piece: bytes) -> None:
            grown = 0 < self.max_length < (length := self._storage.length()) and length > began
            if grown or generation != self._generation:
                raise CopyError(
                    "the copy was given up: while it was made, so much was written that the file would have outgrown the bound of "
                    "the bucket; copy it when less is written"
                )
            take(piece)

        return take_unless_grown

    def end_all(self) -> bool:
        """End all snapshots, and copies that are being made, in the writer thread; return whether there were snapshots."""
        self._generation += 1
        self._storage.forget_dead_readers()
        ended = 0
        while (oldest := self._registry.oldest()) is not None:
            self._registry.end_for_space(oldest)
            ended += 1
        if ended:
            _log.info("ended %d snapshots: with them, the file would outgrow its bound", ended)
        self._oldest = self._held = None
        return ended > 0

    def _watch(self, oldest: Snapshot | None, length: int) -> None:
        self._oldest = None if oldest is None else weakref.ref(oldest)
        self._held = None
        self._disk = length

    def _keeps_too_much(self, oldest: Snapshot, usage: Usage) -> bool:
        """Return whether the oldest snapshot certainly keeps too much; what is not known yet is found out by further calls."""
        allowed = self.max_held(usage)
        if self._held is None:
            self._disk = usage.disk
            if usage.disk - usage.live <= allowed:
                return False
            assert isinstance(oldest, LmdbSnapshot)
            self._held = held_bytes(self._file, oldest.transaction_id)
        try:
            for _ in range(_PAGES):
                if next(self._held) > allowed:
                    return True
        except StopIteration:
            self._held = None
            self._disk = usage.disk + allowed // _STEP
        except (UnknownFileError, OSError):
            return True  # the bound is what was promised
        return False
