"""The bytes that were emitted and not yet taken: fragments being gathered, and batches.

The worker gathers fragments in one of two ways. Large ones are kept in a list, and joined once, by the loop, when it takes a batch.
Copying them into a buffer first would cost more than half of the speed, and so would writing a batch that only the cache of another
core has. Small ones of an iterable are written into a buffer in runs, since they cost more as objects than as bytes. Whether
fragments are small is decided anew for each batch.

The loop reads what is being gathered, and remembers how far it has read, but never changes it. That is exact on every Python: to
append to a list and to slice it are one step each, with the interpreter's lock or with the list's own. Writing into an `io.BytesIO`
that another thread reads is not where the interpreter has no lock, so there nothing counts as small.
"""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ._runs import Runs

# Whether the interpreter has a lock, so that a single call of a method written in C is one step.
LOCKED: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
# Fragments that are smaller than this on average, in bytes, are collected in runs.
# Measured on two cores: equal at about 700 B; at 100 B, a run has 1.3 times the speed of a list, and at 4 kB half of it.
SMALL = 700
# What a fragment in a list counts in addition to its bytes when a stretch ends: about the size of an object, so that a list of tiny
# or empty ones is bounded as well.
OVERHEAD = 64


class Buffer:
    """The fragments and batches of one spool, in order.

    Args:
        batch: The size of a full batch, in bytes.

    Attributes:
        open: The fragments that the worker has added to a list. Only the worker appends, and it replaces the list to seal it.
        collected: The buffer for small fragments. Only the worker writes to it. Either this or `open` is empty.
        runs: Writes many fragments into `collected` at once. Used by the worker, except for `revoke`.
        small: Whether the next fragments of an iterable are to be collected. Changed only when nothing is gathered.
        sealed_at: The number of bytes emitted before those that are being gathered. Written by the worker.
    """

    __slots__ = (
        "_batch",
        "_counted_at",
        "_known",
        "_lock",
        "_sealed",
        "_size",
        "_taken",
        "collected",
        "open",
        "runs",
        "sealed_at",
        "small",
    )

    def __init__(self, batch: int, new_lock: Callable[[], Any] = threading.Lock) -> None:
        self._batch = batch
        self._lock = new_lock()  # held to seal a batch and to take one, never for a fragment
        # Batches, and lists of fragments that are one once they are joined. The worker appends, the loop pops, both under the lock.
        self._sealed: deque[Any] = deque()
        # How much of `open` (in fragments) or `collected` (in bytes) was taken. Written by both sides, under the lock.
        self._taken = 0
        self._known = self._size = 0  # the fragments of `open` that have been counted, and their bytes. Written by the worker
        self._counted_at = 0  # the number of fragments before those that are being gathered. Written by the worker
        self.open: list[Any] = []
        self.collected = io.BytesIO()
        self.runs = Runs()
        self.small = False
        self.sealed_at = 0

    # What a subclass for other things than bytes does in its own way

    overhead = OVERHEAD

    def _size_of(self, fragments: list[Any]) -> int:
        return sum(map(len, fragments))

    def _sealed_of(self, fragments: list[Any]) -> Any:
        """Return what is kept of the fragments of a full batch. As objects, small ones would take more room than their bytes."""
        return b"".join(fragments) if self._size < SMALL * self._known else fragments

    def _batch_of(self, fragments: list[Any]) -> Any:
        return b"".join(fragments)

    def size_taken(self, batch: Any) -> int:
        """Return the size of the batch that was taken last."""
        return len(batch)

    # The worker's side

    def measure_in_thread(self, collected: int) -> int:
        """Count what was added since the last time, and return how many bytes have been emitted so far.

        Args:
            collected: The number of fragments that were written into the buffer for small ones, other than in runs.
        """
        self.runs.fragments += collected
        fragments = self.open
        count = len(fragments)
        if count > self._known:
            self._size += self._size_of(fragments[self._known :] if self._known else fragments)
            self.runs.fragments += count - self._known
            self._known = count
        return self.sealed_at + self._size + self.collected.tell()

    def number_in_thread(self) -> int:
        """Return the number of the fragment that comes next, from 1."""
        return self.runs.fragments + len(self.open) - self._known + 1

    def take_back_in_thread(self, size: int) -> None:
        """Drop the fragment of so many bytes that was added last. Nobody will take it any more."""
        if self.open:
            self.open.pop()
        else:
            self.collected.seek(-size, io.SEEK_CUR)

    def tidy_in_thread(self, batch: int) -> None:
        """Seal what was gathered if it is a batch of so many bytes, which a run can't fill quite, or if a part of it was taken."""
        if self._taken or self.charge() >= batch - (batch >> 3 if self.small else 0):
            self.seal_in_thread()

    def charge(self) -> int:
        """Return how much of a batch has been gathered."""
        return self._size + self.overhead * self._known + self.collected.tell()

    def seal_in_thread(self) -> None:
        """Make a batch of what was gathered. Call `measure_in_thread` first."""
        count = self.runs.fragments - self._counted_at
        with self._lock:
            batch: Any
            if self.open:
                size = self._size
                batch = self._sealed_of(self.open[self._taken :] if self._taken else self.open)
                self.open = []
                self._known = self._size = 0
            else:
                size = self.collected.tell()
                self.collected.seek(self._taken)
                batch = self.collected.read(size - self._taken)
                if size <= 2 * self._batch:
                    self.collected.seek(0)
                else:
                    self.collected = io.BytesIO()  # a large fragment made it grow: don't keep so much memory
            if batch:
                self._sealed.append(batch)
            self.sealed_at += size
            self._taken = 0
        self._counted_at += count
        self.small = LOCKED and size < SMALL * count

    def put_away_in_thread(self) -> None:
        """Seal what was gathered and free the memory, for as long as the producer is paused."""
        self.seal_in_thread()
        with self._lock:
            self.collected = io.BytesIO()

    def holds_some(self) -> bool:
        """Return whether there may be something to take."""
        return bool(self._sealed) or max(len(self.open), self.collected.tell()) > self._taken

    # The event loop's side

    def discard(self) -> None:
        """Drop everything. The worker must have ended."""
        self._sealed.clear()
        self.open = []
        self.collected = io.BytesIO()

    def take_nowait(self) -> Any:
        """Take the oldest batch, or else the new part of what is being gathered. Empty if there is nothing to take."""
        with self._lock:
            if self._sealed:
                batch = self._sealed.popleft()
                return self._more(batch) if isinstance(batch, bytes) else self._batch_of(batch)
            if self.open:
                fragments = self.open[self._taken :]
                self._taken += len(fragments)
                return self._batch_of(fragments)
            size = self.collected.tell()
            if size == self._taken:
                return b""
            batch = self.collected.getvalue()[self._taken : size]
            self._taken = size
            return batch

    def _more(self, batch: bytes) -> bytes:
        """Join a small batch with small ones behind it, as far as they fit into one."""
        parts, size = [batch], len(batch)
        while self._sealed and isinstance(following := self._sealed[0], bytes) and size + len(following) <= self._batch:
            self._sealed.popleft()
            parts.append(following)
            size += len(following)
        return b"".join(parts)
