"""wsgi.file_wrapper: a file as the iterable of a response."""

from __future__ import annotations

from typing import Any

# Bytes for each read. Picked, not measured: the size of a usual chunk of HTTP servers.
BLOCK = 64 * 1024


class FileWrapper:
    """Iterates over a file in blocks, from where it stands, and closes it at the end.

    Args:
        file: Has a `read`, and may have a `close`.
        block_size: The number of bytes to read at once.
    """

    def __init__(self, file: Any, block_size: int = BLOCK) -> None:
        self._read = file.read
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block: bytes = self._read(self._block_size)
        if not block:
            raise StopIteration
        return block
