"""A file object for writing, whose bytes go into a spool."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ._handoff import Handoff

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SpoolWriter(io.RawIOBase):
    """The binary file, open for writing, that a producer function is given.

    The receiver gets the bytes that are written. This works with everything that writes to a file in order: `csv`
    through `io.TextIOWrapper`, `tarfile` in mode ``w|``, `gzip.GzipFile`, `zipfile.ZipFile`, `shutil.copyfileobj`,
    `pickle.dump`. The file has no buffer of its own, so each `write` is a fragment. It can't seek, and has no file
    descriptor. Use it only in the thread that the function runs in.
    """

    def __init__(self, handoff: Handoff) -> None:
        self.write = handoff.emitter_in_thread()  # type: ignore[method-assign]  # one call for each fragment, not two

    def close(self) -> None:
        """Close the file. Everything written before is still received."""
        super().close()
        self.write = _refuse_in_thread  # type: ignore[method-assign]

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Emit all bytes of `data` as one fragment, and block while the window is full.

        Args:
            data: A bytes-like object, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Returns:
            The number of bytes in `data`: all of them are written.

        Raises:
            SpoolBrokenError: The reader is gone. A `write` that waits for room raises this at once.
            ValueError: The producer function has returned, or has closed the file.
            TypeError: `data` is not bytes-like.
        """
        raise NotImplementedError  # each writer has its own


def _refuse_in_thread(fragment: object) -> int:
    raise ValueError("write to a closed SpoolWriter: its producer function has ended, or has closed it")
