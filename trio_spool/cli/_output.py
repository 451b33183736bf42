"""Writing documents and statistics to standard output or to a file."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Final, cast

import trio

from .._files import explain, open_replacement
from ._errors import FileError, OutputError

# Bytes that are collected before they are written. Picked, not measured: about what a pipe holds.
CHUNK: Final = 64 * 1024


class Chunks:
    """Bytes on their way out.

    A thread writes them, because a pager may keep it waiting for long. If the task is cancelled or interrupted, the thread is left
    behind, still waiting.

    Args:
        out: Where they are written.
    """

    def __init__(self, out: RawIOBase) -> None:
        self._out = out
        self._parts: list[bytes] = []
        self._size = 0

    async def add(self, data: bytes) -> None:
        """Add bytes, and write what was collected if that is enough."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= CHUNK:
            await self.write()

    async def write(self) -> None:
        """Write what was collected."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        await trio.to_thread.run_sync(write_in_thread, self._out, data, abandon_on_cancel=True)


class Lines:
    """Lines of text on their way out, written as `Chunks` are."""

    def __init__(self, out: RawIOBase, encoding: str = "utf-8", errors: str = "surrogateescape") -> None:
        self._chunks = Chunks(out)
        self._encoding = encoding
        self._errors = errors

    async def add(self, line: str) -> None:
        """Add a line, which includes its newline, and write what was collected if that is enough."""
        await self._chunks.add(line.encode(self._encoding, self._errors))

    async def write(self) -> None:
        """Write what was collected."""
        await self._chunks.write()


def standard_output() -> RawIOBase:
    """Return standard output without its buffer, so that nothing stays behind in the buffer.

    Raises:
        OutputError: Standard output is closed.
    """
    if sys.stdout is None:  # only where the commands run in a process of another kind
        raise OutputError("standard output is closed")
    sys.stdout.flush()
    buffer = sys.stdout.buffer
    return cast("RawIOBase", getattr(buffer, "raw", buffer))


@contextmanager
def open_output(file: Path) -> Iterator[RawIOBase]:
    """Open a file that appears when the block ends without an error. Until then, an earlier file of that name stays.

    A device or a FIFO is written to directly. A symbolic link stays a link: the file that it leads to is replaced.

    Raises:
        FileError: The file can't be written.
    """
    try:
        with _open_special(file) if _is_special(file) else _open_regular(file) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as exc:
        where = exc.filename or file
        raise FileError(f"can't write {where}: {explain(exc)}; choose another FILE, or - for standard output") from None


def _is_special(file: Path) -> bool:
    try:
        return not stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _open_special(file: Path) -> Iterator[RawIOBase]:
    with file.open("wb", buffering=0) as out:
        yield out


@contextmanager
def _open_regular(file: Path) -> Iterator[RawIOBase]:
    target = Path(os.path.realpath(file))
    # Always the same name: what a run that was killed has left behind is overwritten by the next one.
    with open_replacement(target, partial=target.with_name(target.name + ".partial"), buffering=0) as out:
        yield cast("RawIOBase", out)


def write_in_thread(out: RawIOBase, data: bytes) -> None:
    """Write all of the data."""
    rest = memoryview(data)
    while rest:
        written = out.write(rest)
        if written is None:  # another process that shares the output has made it non-blocking
            select.select((), (out,), ())
        else:
            rest = rest[written:]
