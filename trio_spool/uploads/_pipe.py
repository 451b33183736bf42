"""The bounded pipe from a task to a thread: what a `SpoolReader` reads from.

The task feeds chunks, and waits while the pipe is full. The thread takes bytes, and blocks while the pipe is empty. Either side
may close the pipe, which wakes the other one.

Every shared field is read and written under one lock, by both sides, and never for longer than it takes to copy one chunk. The lock
must be reentrant: the garbage collector may close a dropped file at any moment, also in a thread that holds the lock.

Methods whose names end in ``_in_thread`` may be called in any thread, all others in the event loop's thread only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from .._core import SpoolBrokenError
from .._core._loop import Loop


class Pipe:
    """Chunks on their way to one thread that reads.

    Args:
        loop: The event loop of the task that feeds.
        window: There is room while the pipe holds fewer bytes than this. Thus it holds less than the window plus one chunk.
    """

    def __init__(self, loop: Loop, window: int) -> None:
        self._loop = loop
        self._window = window
        self._changed = threading.Condition(threading.RLock())
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # in the first chunk: how much of it has been read
        self._held = 0
        self._high_water = 0
        self._complete = False
        self._failure: BaseException | None = None
        self._closed = False
        self._wanted = False
        self._sleeper = loop.sleeper()
        # What the sleeping task waits for. The thread that finds it true sets it to None and wakes the task.
        self._awaited: Callable[[], bool] | None = None

    # The event loop's side

    @property
    def high_water(self) -> int:
        """The largest number of bytes held at any time."""
        return self._high_water

    @property
    def closed(self) -> bool:
        """Whether the thread has closed its file, and will read no more."""
        return self._closed

    def feed(self, chunk: bytes) -> None:
        """Append a chunk, whether there is room or not.

        Raises:
            SpoolBrokenError: The thread has closed its file.
            RuntimeError: The pipe has been completed or broken off.
        """
        with self._changed:
            if self._closed:
                raise SpoolBrokenError("the reader has been closed: nobody will read what is fed")
            if self._complete or self._failure is not None:
                raise RuntimeError("feed was called after the end: feed_eof or break_off has been called already")
            if chunk:
                self._chunks.append(chunk)
                self._held += len(chunk)
                self._high_water = max(self._high_water, self._held)
                self._changed.notify_all()

    def complete(self) -> None:
        """Let the thread reach the end of its file after what has been fed."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def break_off(self, failure: BaseException) -> None:
        """Drop what has not been read, and make every later read of the thread raise. Has no effect after the first time."""
        with self._changed:
            if self._failure is None:
                self._failure = failure
            self._drop()
            self._wake_task()
            self._changed.notify_all()

    async def wait_room(self) -> None:
        """Wait, if the pipe is full, until half of it is free or the thread has closed its file."""
        if self._held >= self._window:
            await self._wait(lambda: self._held <= self._window // 2)

    async def wait_wanted(self) -> None:
        """Wait until the thread has asked for bytes for the first time, or has closed its file."""
        await self._wait(lambda: self._wanted)

    def want(self) -> None:
        """End `wait_wanted` although the thread has not asked."""
        with self._changed:
            self._wanted = True
            self._wake_task()

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while True:
            with self._changed:
                if self._closed or condition():
                    return
                self._awaited = condition
            await self._sleeper.sleep()

    # The thread's side

    def read_into_in_thread(self, buffer: memoryview) -> int:
        """Fill a buffer with what has come, or block until something comes.

        Returns:
            The number of bytes read, at most from one chunk; 0 at the end.

        Raises:
            SpoolBrokenError: The pipe was broken off.
        """
        with self._changed:
            if not self._wait_for_chunk_in_thread():
                return 0
            chunk = self._chunks[0]
            size = min(len(buffer), len(chunk) - self._offset)
            buffer[:size] = memoryview(chunk)[self._offset : self._offset + size]
            self._offset += size
            if self._offset == len(chunk):
                self._chunks.popleft()
                self._offset = 0
            self._held -= size
            self._wake_task()
            return size

    def _wait_for_chunk_in_thread(self) -> bool:
        self._wanted = True
        while True:
            if self._failure is not None:
                raise SpoolBrokenError(f"the data broke off before its end: {self._failure}") from self._failure
            if self._closed:
                raise ValueError("read of a closed SpoolReader")
            if self._chunks:
                return True
            if self._complete:
                return False
            self._wake_task()
            self._changed.wait()

    def close_in_thread(self) -> None:
        """Drop what has not been read, and wake both sides. Whatever is fed from now on raises."""
        with self._changed:
            self._closed = True
            self._drop()
            self._wake_task()
            self._changed.notify_all()

    def _drop(self) -> None:
        self._chunks.clear()
        self._offset = 0
        self._held = 0

    def _wake_task(self) -> None:
        if self._awaited is not None and (self._closed or self._awaited()):
            self._awaited = None
            self._loop.call_soon_in_thread(self._sleeper.wake)
