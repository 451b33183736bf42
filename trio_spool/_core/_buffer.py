"""The bytes that were emitted and not yet taken: small fragments being collected, and batches.

The worker owns the open buffer. It appends without a lock: the event loop reads the buffer, and remembers how far it has read, but
never changes it. The worker copies the buffer into a batch when there is enough for one, or when the loop has taken a part of it,
and then writes from its front again, because page faults in new memory cost more than the copy.
"""

from __future__ import annotations

import io
import threading
from collections import deque

from ._runs import Runs


class Buffer:
    """The fragments and batches of one spool, in order.

    Args:
        batch: The size of a full batch, in bytes.

    Attributes:
        open: The buffer in which fragments are collected. Only the worker writes to it.
        runs: Writes many fragments into `open` at once. Used by the worker, except for `revoke`.
        sealed_at: The number of bytes emitted before those in `open`. Written by the worker.
        small: The size in bytes from which a `bytes` fragment becomes a batch of its own without being copied.
    """

    __slots__ = ("_batch", "_lock", "_open_taken", "_sealed", "open", "runs", "sealed_at", "small")

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._lock = threading.Lock()  # held to seal a batch and to take one, never for a fragment
        self._open_taken = 0  # bytes of `open` that were taken; written by both sides, under the lock
        self._sealed: deque[bytes] = deque()  # the worker appends, the loop pops, both under the lock
        self.open = io.BytesIO()
        self.runs = Runs()
        self.sealed_at = 0
        self.small = max(1, batch // 2)  # half a batch: picked, not measured

    # The worker's side

    def put_in_thread(self, fragment: object) -> int:
        """Add one fragment and return its size in bytes. A large `bytes` object is not copied.

        Raises:
            TypeError: The fragment is not bytes-like.
        """
        if type(fragment) is bytes and len(fragment) >= self.small:
            size = len(fragment)
            if self.open.tell():
                self.seal_in_thread()
            self._sealed.append(fragment)
            self.sealed_at += size
        else:
            try:
                size = self.open.write(fragment)  # type: ignore[arg-type]
            except (TypeError, BufferError) as exc:
                raise TypeError(f"fragment {self.runs.fragments + 1} of a producer: {exc}: {fragment!r:.80}") from exc
        self.runs.one(size)
        return size

    def emitted(self) -> int:
        """Return how many bytes have been added so far.

        May be called in any thread. While the worker seals a batch, the event loop may be told too few.
        """
        return self.sealed_at + self.open.tell()

    def tidy_in_thread(self) -> None:
        """Seal the open buffer if it holds a full batch, or if a part of it was taken."""
        if self._open_taken or self.open.tell() >= self._batch:
            self.seal_in_thread()

    def seal_in_thread(self) -> None:
        """Copy the open buffer into a batch, and write from its front again."""
        with self._lock:
            buffer = self.open
            size = buffer.tell()
            if size > self._open_taken:
                buffer.seek(self._open_taken)
                self._sealed.append(buffer.read(size - self._open_taken))
            if size <= 2 * self._batch:
                buffer.seek(0)
            else:
                self.open = io.BytesIO()  # a large fragment made it grow: don't keep so much memory
            self._open_taken = 0
            self.sealed_at += size

    def put_away_in_thread(self) -> None:
        """Seal the open buffer and free its memory, for as long as the producer is paused."""
        self.seal_in_thread()
        with self._lock:
            self.open = io.BytesIO()

    def holds_some(self) -> bool:
        """Return whether there may be something to take."""
        return bool(self._sealed or self.open.tell())

    # The event loop's side

    def discard(self) -> None:
        """Drop everything. The worker must have ended."""
        self._sealed.clear()
        self.open = io.BytesIO()

    def take_nowait(self) -> bytes:
        """Take the oldest batch, or else the new part of the open buffer. Empty if there is nothing to take."""
        with self._lock:
            if self._sealed:
                return self._sealed.popleft()
            size = self.open.tell()
            batch = self.open.getvalue()[self._open_taken : size]
            self._open_taken = size
            return batch
