"""Changing the file of users, by one process at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._users import UsersError, keep_owner

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
        descriptor = os.open(f"{target}{LOCK_SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise UsersError(f"can't write the users to {path}: {exc.strerror}; check who owns it and its directory") from exc
    try:
        try:
            keep_owner(target, descriptor)
            _lock(descriptor)
        except OSError as exc:
            raise UsersError(f"can't lock {target}{LOCK_SUFFIX}: {exc.strerror}; use a local file system") from exc
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        """There is nothing that waits."""

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
