"""File objects for writing, whose bytes go into a spool."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..handover import Handoff

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The files of the standard library that hold bytes back, and can be told to write them.
_WRAPPERS = (io.TextIOWrapper, io.BufferedWriter)


class SpoolWriter(io.RawIOBase):
    """The binary file, open for writing, that a producer function is given.

    The receiver gets the bytes that are written. This works with everything that writes to a file in order: `csv` through `text`,
    `tarfile` in mode ``w|``, `gzip.GzipFile`, `zipfile.ZipFile`, `shutil.copyfileobj`, `pickle.dump`. The file has no buffer of its
    own, so each `write` is a fragment. It can't seek, and has no file descriptor. Use it only in the thread that the function runs
    in.

    When the function returns, the file is closed. An `io.TextIOWrapper` or `io.BufferedWriter` around it that still exists is
    flushed before; not so if the function raises, since the output is incomplete then. Later writes raise `ValueError`, unless the
    output is incomplete or nobody will read it: then they do nothing, so that archives which are cleaned up late don't complain.
    """

    def __init__(self, handoff: Handoff) -> None:
        self.write = handoff.emitter_in_thread()  # type: ignore[method-assign]  # one call for each fragment, not two
        self._texts: WeakSet[_TextPart] = WeakSet()
        self._incomplete = False  # whether the function has ended, and nobody gets all that it wrote
        self._wrapped = False  # whether something has asked what it may do with this file, as a file around it does

    def text(self, encoding: str = "utf-8", errors: str = "strict", newline: str | None = "") -> io.TextIOWrapper:
        """Return a text file that writes to this one: ``csv.writer(out.text())``, ``print(..., file=out.text())``.

        It holds nothing back, so each `write` is a fragment, and nothing can be lost. Closing it does not close this file.

        Args:
            encoding: As for `open`.
            errors: As for `open`.
            newline: As for `open`. By default, line ends are written as they are, which is what `csv` asks for.
        """
        part = _TextPart(self.write)
        self._texts.add(part)
        return io.TextIOWrapper(part, encoding=encoding, errors=errors, newline=newline, write_through=True)

    def run_in_thread(self, function: Callable[[SpoolWriter], object]) -> None:
        """Run the producer function with this file."""
        references = sys.getrefcount(self)
        function(self)
        if self._wrapped and not self.closed and sys.getrefcount(self) > references:
            _flush_around(self)

    def end_in_thread(self, *, complete: bool) -> None:
        """Close the file, because the function has ended.

        Args:
            complete: Whether the function has returned, and somebody reads what it has written.
        """
        self._incomplete = not complete
        self.close()

    def close(self) -> None:
        """Close the file. Everything written before is still received."""
        self.write = _ignore_in_thread if self._incomplete else _refuse_in_thread  # type: ignore[method-assign]
        for part in list(self._texts):
            part.write = self.write  # type: ignore[method-assign]
        super().close()

    def flush(self) -> None:
        """Do nothing: the file holds nothing back."""
        if not self._incomplete:
            super().flush()  # raises ValueError if the file is closed

    def writable(self) -> bool:
        """Return True."""
        self._wrapped = True
        return True

    def write(self, data: Buffer, /) -> int:
        """Emit all bytes of `data` as one fragment, and block while the window is full.

        Args:
            data: A bytes-like object, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Returns:
            The number of bytes in `data`: all of them are written.

        Raises:
            SpoolBrokenError: The reader is gone. A `write` that waits for room raises this at once.
            SpoolExit: This was raised before, a hundred times: the function does not end because of it.
            ValueError: The producer function has returned, or has closed the file.
            TypeError: `data` is not bytes-like.
        """
        raise NotImplementedError  # each writer has its own


class _TextPart(io.RawIOBase):
    """What a text file writes to. Closing it closes nothing else."""

    name = "a SpoolWriter"

    def __init__(self, write: Callable[[Any], int]) -> None:
        self.write = write  # type: ignore[method-assign]

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        raise NotImplementedError  # that of the SpoolWriter


def _flush_around(file: object) -> None:
    """Flush the files around a file, the outermost first. Searching all objects for them is slow, and rarely needed."""
    for around in gc.get_referrers(file):
        if isinstance(around, _WRAPPERS) and not around.closed:
            _flush_around(around)
            around.flush()


def _refuse_in_thread(fragment: object) -> int:
    raise ValueError("write to a closed SpoolWriter: its producer function has ended, or has closed it")


def _ignore_in_thread(fragment: Any) -> int:
    return memoryview(fragment).nbytes
