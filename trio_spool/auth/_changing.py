"""Changing the file of users, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._files import FileLock, explain
from ._errors import UsersError
from ._users import keep_owner

LOCK_SUFFIX = ".lock"


@contextmanager
def changing_users(path: Path) -> Iterator[None]:
    """Keep others from changing a file of users meanwhile: what is saved must come of what was loaded within, too.

    Waits until nobody else does. The lock is that of a file beside it, which stays; whoever reads the users needs none.

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
