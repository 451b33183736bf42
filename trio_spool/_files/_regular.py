"""Regular files that somebody else may have had a hand in: opened without following a link, and read up to a bound."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a regular file, and return its descriptor. A symbolic link is not followed, and a FIFO is not waited for.

    Args:
        path: The path.
        flags: As for `os.open`.
        mode: As for `os.open`.

    Raises:
        OSError: The file can't be opened, or is not a regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError("it is a symbolic link") from None
        if exc.errno == errno.ENXIO:  # a FIFO that nobody reads, or a socket
            raise OSError("it is not a regular file") from None
        raise
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        if stat.S_ISDIR(found):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise OSError("it is not a regular file")
    return descriptor


def read_bounded(path: Path, limit: int, *, regular: bool = False) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Args:
        path: The path. Of a device or a FIFO, at most one byte more is read.
        limit: The maximum number of bytes.
        regular: Whether the file must be a regular one, as for `open_regular`.

    Raises:
        OSError: The file can't be read, or is larger.
    """
    with open(open_regular(path) if regular else path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"it has more than {limit} bytes")
    return content
