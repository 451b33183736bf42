"""Changing the file of users, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._files import FileLock, explain
from ._errors import UsersError
from ._users_file import keep_owner

LOCK_SUFFIX = ".lock"


@contextmanager
def changing_users(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file of users while the block runs. Load and save the users inside the block.

    This waits until no other process holds the lock. The lock is on a separate file beside the file of users, which is never
    removed. Reading the users takes no lock.

    Args:
        path: The path of the file of users.

    Raises:
        UsersError: The lock can't be taken.
    """
    target = Path(os.path.realpath(path))
    try:
        lock = FileLock(Path(f"{target}{LOCK_SUFFIX}"), mode=0o600)
    except OSError as exc:
        raise UsersError(f"can't write the users to {path}: {explain(exc)}; check who owns it and its directory") from exc
    with lock:
        try:
            keep_owner(target, lock.file.fileno())
            lock.acquire(wait=True)
        except OSError as exc:
            raise UsersError(f"can't lock {target}{LOCK_SUFFIX}: {explain(exc)}; use a local file system") from exc
        yield
