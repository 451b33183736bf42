"""Logins: the users, if there are any, and what checking a password may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from ..auth import MECHANISMS, ScramKeys, User, Users, derive_keys, load_users
from ._session import EVERYTHING

PLAIN: Final = "PLAIN"
# Threads that check passwords: each check is a few milliseconds of a processor, and nobody should get all of them.
HASHERS: Final = 1
# Seconds by which a refusal is put off, the first time; it doubles up to the last.
FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 3.0
_ANY_SALT: Final = b"trio-spool takes any password"


class Logins:
    """Who may log in. Without a file of users, anybody, with any password.

    Args:
        path: The file.

    Raises:
        UsersError: It can't be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._users: Users | None = None if path is None else load_users(path)
        self.mechanisms = (*MECHANISMS, PLAIN)
        self.hashing = trio.CapacityLimiter(HASHERS)

    @property
    def required(self) -> bool:
        """Whether somebody must log in."""
        return self._users is not None

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._users) if self._users is not None else 0

    def reload(self) -> None:
        """Read the file again. Those who are logged in stay so.

        Raises:
            UsersError: It can't be used; the users stay as they were.
        """
        if self._path is not None:
            self._users = load_users(self._path)

    def get(self, name: str) -> User | None:
        """Return a user."""
        return EVERYTHING if self._users is None else self._users.get(name)

    def keys_for(self, name: str, mechanism: str) -> ScramKeys:
        """Return what a login is checked with, also for users that there are not."""
        if self._users is None:
            return derive_keys(mechanism, "", _ANY_SALT, 4096)
        return self._users.keys_for(name, mechanism)

    def check_in_thread(self, name: str, password: str) -> User | None:
        """Return the user, if the password is right. It takes as long if there is no such user."""
        return EVERYTHING if self._users is None else self._users.check_password(name, password)

    def delay(self, failures: int) -> float:
        """Return the seconds by which to put off a refusal."""
        return min(FIRST_DELAY * 2.0 ** min(failures - 1, 10), LAST_DELAY)
