"""Logins: the users, if there are any, and how much of the processor checking passwords may take."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import trio

from ...auth import MECHANISMS, Role, ScramKeys, User, Users, UsersError, derive_keys, load_users

PLAIN: Final = "PLAIN"
# The mechanisms in the order in which clients get them: the strongest first, and PLAIN before the last. libmemcached 1.0.16, which
# pylibmc's wheels carry, reads beyond the end of the list: a third of its logins fail if PLAIN is the last, and none if another is.
_OFFERED: Final = (*MECHANISMS[:-1], PLAIN, MECHANISMS[-1])
# Every role, on every bucket: what a client may do where no users are set up.
EVERYTHING: Final = User("", frozenset({Role.ADMIN}), {}, {})
# Threads that check passwords. A check takes some milliseconds of a processor; one thread leaves the others to those who have
# logged in.
HASHERS: Final = 1
_ANY_SALT: Final = b"trio-spool takes any password"
# RFC 5802 asks for 4096 at least; more would cost time and protect nothing, since any password is right.
_ANY_ITERATIONS: Final = 4096


@cache
def _any_keys(mechanism: str) -> ScramKeys:
    """Return the keys of the empty password. They take a millisecond to derive, and are the same for every name."""
    return derive_keys(mechanism, "", _ANY_SALT, _ANY_ITERATIONS)


class Logins:
    """The users who may log in. Without a file of users, anybody may, with any password.

    Args:
        path: The file of users, or None.
        first_refusal: Seconds by which the refusal of a connection's first failed login is delayed.
        max_refusal: The longest such delay, in seconds.

    Attributes:
        mechanisms: The SASL mechanisms, in the order in which clients get them.
        hashing: Bounds the threads that check passwords.

    Raises:
        UsersError: The file can't be used.
    """

    def __init__(self, path: Path | None, first_refusal: float, max_refusal: float) -> None:
        self._path = path
        self._first_refusal = first_refusal
        self._max_refusal = max_refusal
        self._users: Users | None = None if path is None else load_users(path)
        self.mechanisms = _OFFERED
        if path is None:
            for mechanism in MECHANISMS:
                _any_keys(mechanism)  # before there are clients: a login must not derive keys in the event loop's thread
        self.hashing = trio.CapacityLimiter(HASHERS)

    @property
    def required(self) -> bool:
        """Whether clients must log in."""
        return self._users is not None

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self._users) if self._users is not None else 0

    def reload(self) -> None:
        """Read the file again. Clients that are logged in stay logged in.

        Raises:
            UsersError: The file can't be used; the users stay as they were.
        """
        self.take(self.read_in_thread())

    def read_in_thread(self) -> Users | None:
        """Read the file again, and return the users, or None if there is no file. This takes 0.03 ms for each of them.

        Raises:
            UsersError: The file can't be used.
        """
        if self._path is None:
            return None
        if self._path.exists() and not self._path.is_file():  # a pipe has nothing any more, or keeps its reader waiting
            raise UsersError(f"{self._path} is not a regular file, so it can't be read again")
        return load_users(self._path)

    def take(self, users: Users | None) -> None:
        """Have other users. Clients that are logged in stay logged in."""
        self._users = users

    def get(self, name: str) -> User | None:
        """Return the user of a name, or None."""
        return EVERYTHING if self._users is None else self._users.get(name)

    def keys_for(self, name: str, mechanism: str) -> ScramKeys:
        """Return the keys that a login is checked with. There are some for unknown users as well, so that nobody can tell them."""
        if self._users is None:
            return _any_keys(mechanism)
        return self._users.keys_for(name, mechanism)

    def check_in_thread(self, name: str, password: str) -> User | None:
        """Return the user if the password is right, else None. An unknown user takes as long as a known one."""
        return EVERYTHING if self._users is None else self._users.check_password(name, password)

    def delay(self, failures: int) -> float:
        """Return the seconds by which to delay a refusal, after this many failures on one connection."""
        return min(self._first_refusal * 2.0 ** min(failures - 1, 10), self._max_refusal)
