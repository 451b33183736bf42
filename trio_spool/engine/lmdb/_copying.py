"""A copy of a live environment: as a stream of bytes, and as files that can be served."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb

from .._directory import MARKER, claim_directory
from .._errors import CopyError, DamagedError
from .._statistics import CopiedFile
from ._database import DATABASE

# Bytes that are read at once from the pipe between LMDB and us: what a Linux pipe can hold at most. Picked, not measured.
PIECE = 1024 * 1024


def copy_environment(env: lmdb.Environment, take: Callable[[bytes], object]) -> None:
    """Give `take` the bytes of a compacted copy, in order.

    LMDB writes its copy to a file descriptor, in one call that can't be stopped. So it gets a pipe: closing the other end makes its
    next write fail.

    Raises:
        CopyError: LMDB failed.
        DamagedError: A page is damaged.
    """
    source, sink = os.pipe()
    failures: list[BaseException] = []

    def copy_in_thread() -> None:
        try:
            env.copyfd(sink, compact=True)
        except BaseException as exc:
            failures.append(exc)
        finally:
            os.close(sink)

    thread = threading.Thread(target=copy_in_thread, name="trio-spool-copier", daemon=True)
    thread.start()
    try:
        while piece := os.read(source, PIECE):
            take(piece)
    finally:
        os.close(source)
        thread.join()
    if failures and isinstance(failures[0], (lmdb.CorruptedError, lmdb.PageNotFoundError)):
        raise DamagedError(f"a page of the database is damaged: {failures[0]}") from failures[0]
    if failures:
        raise CopyError(f"copying the database failed: {failures[0]}") from failures[0]


def make_copy(
    copy: Callable[[Callable[[bytes], object]], object], engine: str, directory: Path, check: Callable[[], None]
) -> list[CopiedFile]:
    """Write a copy to a new data directory: see `Engine.copy_files`.

    Args:
        copy: Gives a function the bytes of the database.
        engine: The name of the engine, for the marker.
        directory: The new directory.
        check: Called for each piece.
    """
    claim_directory(directory, engine)
    digest = hashlib.sha512()
    size = 0
    with (directory / DATABASE).open("wb") as file:

        def take(piece: bytes) -> None:
            nonlocal size
            check()
            file.write(piece)
            digest.update(piece)
            size += len(piece)

        copy(take)
    marker = (directory / MARKER).read_bytes()
    return [
        CopiedFile(DATABASE, size, digest.hexdigest()),
        CopiedFile(MARKER, len(marker), hashlib.sha512(marker).hexdigest()),
    ]
