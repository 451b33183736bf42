"""A file object for writing, whose bytes go into a spool."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ._handoff import Handoff

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SpoolWriter(io.RawIOBase):
    """A binary file, open for writing, that a producer function is given.

    What is written is received. It works with everything that writes to a file in order: `csv` through
    `io.TextIOWrapper`, `tarfile` in mode ``w|``, `gzip.GzipFile`, `zipfile.ZipFile`, `shutil.copyfileobj`,
    `pickle.dump`. There is no buffer of its own: each `write` is a fragment. It can't seek and has no file
    descriptor. Use it in one thread at a time, the one that the function runs in.
    """

    def __init__(self, handoff: Handoff) -> None:
        self._emit = handoff.emit_in_thread

    def close(self) -> None:
        """Close the file; what was written is received all the same."""
        super().close()
        self._emit = _refuse_in_thread

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Emit the bytes of `data`, all of them, as one fragment; block while the window is full.

        Args:
            data: A bytes-like object, contiguous in memory; it is copied unless it is `bytes`, and may be changed afterwards.

        Returns:
            The number of bytes, always all.

        Raises:
            SpoolBrokenError: The reader is gone. A `write` that waits for room is released at once.
            ValueError: The producer function has returned, or closed the file.
            TypeError: `data` is not bytes-like.
        """
        return self._emit(data)


def _refuse_in_thread(fragment: object) -> int:
    raise ValueError("write to a SpoolWriter that is closed: its producer function has ended")
