"""The users of a server for tests, given as a mapping of names to passwords."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from ..auth import User

#: A password, for a user who may do everything; or a password and roles, such as ``"read"`` or ``"orders:write"``.
Account: TypeAlias = "str | tuple[str, ...]"
Users: TypeAlias = "str | os.PathLike[str] | Mapping[str, Account]"

# A server without users takes any login. These are the ones in the documentation of Couchbase.
USERNAME: Final = "Administrator"
PASSWORD: Final = "password"
_ADMIN: Final = "admin"
# Users whose keys are remembered: deriving them takes longer than starting a server. Picked: more than a test suite has.
_REMEMBERED: Final = 256


@contextmanager
def users_file(users: Users | None) -> Iterator[Path | None]:
    """Give the path of the file of users: the one that is named, or a temporary one, which is removed at the end.

    Raises:
        ValueError: A name, a password or a role can't be used.
    """
    if users is None or isinstance(users, (str, os.PathLike)):
        yield None if users is None else Path(users)
        return
    from ..auth import Users as Collection
    from ..auth import save_users

    made = [_make(name, account) for name, account in users.items()]
    with TemporaryDirectory(prefix="trio-spool-users-") as directory:
        path = Path(directory, "users.json")
        save_users(path, Collection(made))
        yield path


def login_of(users: Users | None, username: str | None, password: str | None) -> tuple[str, str]:
    """Return who logs in, and with what password: what is given, and for the rest what the users say.

    By default, that is the first user who may do everything, or else the first one.
    """
    if not isinstance(users, Mapping) or not users:
        return username or USERNAME, password or PASSWORD
    if username is None:
        username = next((name for name, account in users.items() if _ADMIN in _parts(name, account)[1]), next(iter(users)))
    if password is None:
        password = _parts(username, users[username])[0] if username in users else PASSWORD
    return username, password


def _parts(name: str, account: Account) -> tuple[str, tuple[str, ...]]:
    if isinstance(account, str):
        return account, (_ADMIN,)
    if not isinstance(account, tuple) or len(account) < 2 or not all(isinstance(part, str) for part in account):
        raise ValueError(
            f"the user {name!r} must have a password, or a tuple of a password and roles, such as "
            f"('secret', 'read', 'orders:write'); got {type(account).__name__}"
        )
    return account[0], account[1:]


def _make(name: str, account: Account) -> User:
    return _made(name, *_parts(name, account))


@lru_cache(_REMEMBERED)
def _made(name: str, password: str, roles: tuple[str, ...]) -> User:
    from ..auth import MIN_ITERATIONS, Role, make_user

    buckets: dict[str, list[Role]] = {"": []}
    for text in roles:
        bucket, _, role = text.rpartition(":")
        try:
            buckets.setdefault(bucket, []).append(Role(role))
        except ValueError:
            known = ", ".join(role.value for role in Role)
            raise ValueError(f"the user {name!r} has an unknown role {text!r}: the roles are {known}, or BUCKET:ROLE") from None
    everywhere = buckets.pop("")
    return make_user(name, password, everywhere, buckets, MIN_ITERATIONS)
