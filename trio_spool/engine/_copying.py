"""A copy of a live environment, as a stream of bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import lmdb

from ._errors import CopyError

# What is read at once from the pipe between LMDB and us.
PIECE = 1024 * 1024


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
