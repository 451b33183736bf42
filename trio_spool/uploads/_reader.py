"""A file object for reading, whose bytes come from a task of the event loop."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ._current import current_loop
from ._pipe import Pipe

if TYPE_CHECKING:
    from typing_extensions import Buffer

KIB = 1024
# Bytes that may wait to be read. Picked, not measured: it is four to eight times what servers hand over at once (64 to 128 KiB).
WINDOW = 512 * KIB
# Bytes that are taken from the pipe at once by a read of a line or of a few bytes. Picked: the size of a server's usual chunk.
BUFFER = 64 * KIB


class SpoolReader(io.BufferedReader):
    """A binary file, open for reading, that blocking code reads in a worker thread while a task feeds it.

    It is the counterpart of `SpoolWriter`, and works with everything that reads a file in order: `csv` through an
    `io.TextIOWrapper`, `tarfile` in mode ``r|*``, `gzip.GzipFile`, `shutil.copyfileobj`, `pickle.load`. It can't seek, and has no
    file descriptor.

    The thread reads: `read`, `read1`, `readinto`, `readline`, `readlines`, iteration, `close`. It blocks while nothing has come.
    The task feeds: `feed`, `feed_eof`, `break_off`. Only one task may feed, and only one thread may read at a time.

    Make one in the task that feeds it, on Trio or on asyncio.

    Args:
        window: `feed` waits while this many bytes, or more, have been fed and not yet read. The reader never holds more than that
            plus the one chunk that crossed it, and 64 KiB in its own buffer.
    """

    def __init__(self, *, window: int = WINDOW) -> None:
        if isinstance(window, bool) or not isinstance(window, int):
            raise TypeError(f"window must be an int, a number of bytes; got {window!r}")
        if window < 1:
            raise ValueError(f"window must be at least 1 byte; got {window}")
        self._pipe = Pipe(current_loop(), window)
        super().__init__(_PipeFile(self._pipe), BUFFER)

    @property
    def high_water(self) -> int:
        """The largest number of bytes that were fed and not yet read, at any time."""
        return self._pipe.high_water

    @property
    def abandoned(self) -> bool:
        """Whether the thread has closed the file, so that nobody will read what is fed."""
        return self._pipe.closed

    async def feed(self, chunk: Buffer) -> None:
        """Append a chunk, then wait until there is room for another one.

        If this is cancelled while it waits, the chunk has been fed all the same.

        Args:
            chunk: A bytes-like object. It is copied unless it is `bytes`, so it may be changed afterwards.

        Raises:
            SpoolBrokenError: The thread has closed the file. Nobody will read what is fed.
            RuntimeError: `feed_eof` or `break_off` was called before.
        """
        self._pipe.feed(bytes(chunk))
        await self._pipe.wait_room()

    def feed_eof(self) -> None:
        """Let the thread reach the end of the file, once it has read all that has been fed."""
        self._pipe.complete()

    def break_off(self, failure: BaseException) -> None:
        """Stop the thread: drop what it has not read, and make its current and later reads raise `SpoolBrokenError`.

        Args:
            failure: Why; it becomes the cause of the error.
        """
        self._pipe.break_off(failure)

    async def wait_wanted(self) -> None:
        """Wait until the thread has asked for bytes for the first time, or has closed the file."""
        await self._pipe.wait_wanted()

    def want(self) -> None:
        """End a `wait_wanted` although the thread has not asked for anything."""
        self._pipe.want()


class _PipeFile(io.RawIOBase):
    """The unbuffered file below a `SpoolReader`."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        return self._pipe.read_into_in_thread(memoryview(buffer).cast("B"))

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(BUFFER) or b"", b""))

    def close(self) -> None:
        if not self.closed:
            self._pipe.close_in_thread()
        super().close()
