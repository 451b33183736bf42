"""What was emitted and not yet taken: small fragments being collected, and batches.

The open buffer is the worker's: it appends without a lock, since the loop reads the buffer, and remembers how far, but never
changes it. The worker copies it into a batch when that is full, or when the loop has taken a part of it, and begins at its front
again: memory that is new costs more than the copy does.
"""

from __future__ import annotations

import io
import threading
from collections import deque

from ._runs import Runs


class Buffer:
    """The fragments and batches of one spool, in order.

    Attributes:
        open: Where fragments are collected. Nobody but the worker writes to it.
        runs: What writes many fragments there. The worker's, but for `revoke`.
        sealed_at: How many bytes were emitted before those in `open`. The worker's.
        small: A fragment of so many bytes is a batch of its own, if it can't change.
    """

    __slots__ = ("_batch", "_lock", "_open_taken", "_sealed", "open", "runs", "sealed_at", "small")

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._lock = threading.Lock()  # held to seal a batch and to take one, never for a fragment
        self._open_taken = 0  # bytes of `open` that were taken: both write it, under the lock
        self._sealed: deque[bytes] = deque()  # the worker appends, the loop pops, both under the lock
        self.open = io.BytesIO()
        self.runs = Runs()
        self.sealed_at = 0
        self.small = max(1, batch // 2)

    # The worker's side

    def put_in_thread(self, fragment: object) -> int:
        """Add one fragment, and return its size; a large one is not copied if it can't change.

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
        """Return how many bytes have been added so far. For any thread; the loop may be told too few while a batch is sealed."""
        return self.sealed_at + self.open.tell()

    def tidy_in_thread(self) -> None:
        """Make a batch of what is open if that is enough for one, or if a part of it was taken."""
        if self._open_taken or self.open.tell() >= self._batch:
            self.seal_in_thread()

    def seal_in_thread(self) -> None:
        """Make a batch of what is open, and begin at the front of the buffer again."""
        with self._lock:
            buffer = self.open
            size = buffer.tell()
            if size > self._open_taken:
                buffer.seek(self._open_taken)
                self._sealed.append(buffer.read(size - self._open_taken))
            if size <= 2 * self._batch:
                buffer.seek(0)
            else:
                self.open = io.BytesIO()  # one fragment was larger than all that is to come
            self._open_taken = 0
            self.sealed_at += size

    def put_away_in_thread(self) -> None:
        """Seal what is open, and let go of the buffer, for as long as the producer is paused."""
        self.seal_in_thread()
        with self._lock:
            self.open = io.BytesIO()

    def holds_some(self) -> bool:
        """Whether there is something to take, or may be."""
        return bool(self._sealed or self.open.tell())

    # The event loop's side

    def discard(self) -> None:
        """Let go of everything. The worker must have ended."""
        self._sealed.clear()
        self.open = io.BytesIO()

    def take_nowait(self) -> bytes:
        """Take the oldest batch, or else what is new in the open buffer; empty if there is nothing."""
        with self._lock:
            if self._sealed:
                return self._sealed.popleft()
            size = self.open.tell()
            batch = self.open.getvalue()[self._open_taken : size]
            self._open_taken = size
            return batch
