"""A copy of a live environment: as a stream of bytes, and as files that can be served."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .._files import explain
from ._directory import DATABASE, MARKER, claim_directory
from ._errors import CopyError
from ._lmdb_file import find_shortage

if TYPE_CHECKING:
    import lmdb

    from ._engine import Engine

# What is read at once from the pipe between LMDB and us.
PIECE = 1024 * 1024


@attrs.frozen
class CopiedFile:
    """A file of a copy.

    Attributes:
        name: Its name in the directory of the copy.
        size: In bytes.
        sha512: Of its content, in hexadecimal.
    """

    name: str
    size: int
    sha512: str


def copy_environment(env: lmdb.Environment, take: Callable[[bytes], object]) -> None:
    """Give `take` the bytes of a compacted copy, in order.

    LMDB writes its copy to a file descriptor in one call that can't be stopped. It is given a pipe: whoever wants no more of it
    closes the other end, and LMDB's next write fails.

    Raises:
        CopyError: LMDB failed.
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
    if failures:
        raise CopyError(f"copying the database failed: {failures[0]}") from failures[0]


def copy_files(engine: Engine, directory: Path, check: Callable[[], None]) -> list[CopiedFile]:
    """Make a consistent, compacted copy of what an engine has stored, in a new directory that can be served.

    Args:
        engine: Goes on reading and writing meanwhile.
        directory: Where; it is made. If this fails, what is there is no copy, and may be removed.
        check: Is called now and then; what it raises ends the copying, and is raised here.

    Returns:
        The files, in the order in which they must be written by whoever copies the copy: the marker, which makes it a data
        directory, is the last.

    Raises:
        NoFilesError: The engine keeps nothing in files.
        CopyError: Reading the database failed.
        DataDirectoryError: The directory can't be used.
        OSError: Writing failed.
    """
    claim_directory(directory, engine.kind)
    digest = hashlib.sha512()
    size = 0
    with (directory / DATABASE).open("wb") as file:

        def take(piece: bytes) -> None:
            nonlocal size
            check()
            file.write(piece)
            digest.update(piece)
            size += len(piece)

        engine.copy(take)
    marker = (directory / MARKER).read_bytes()
    return [
        CopiedFile(DATABASE, size, digest.hexdigest()),
        CopiedFile(MARKER, len(marker), hashlib.sha512(marker).hexdigest()),
    ]


def count_copy(directory: Path) -> int:
    """Open a copy, without changing it, and return how many items it has.

    Raises:
        CopyError: It does not open.
    """
    import lmdb

    try:
        shortage = find_shortage(directory / DATABASE)
    except OSError as exc:
        raise CopyError(f"can't read {directory / DATABASE}: {explain(exc)}") from exc
    if shortage is not None:
        raise CopyError(f"the database in {directory} is damaged: it has {shortage[0]} bytes, and must have {shortage[1]}")
    try:
        with lmdb.open(str(directory), readonly=True, lock=False, max_dbs=8) as env:
            items = env.open_db(b"items", create=False)
            with env.begin(db=items) as transaction:
                return int(transaction.stat(items)["entries"])
    except lmdb.Error as exc:
        raise CopyError(f"the database in {directory} does not open: {exc}") from exc
