"""Users who may log in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from trio_spool.auth import Role, User, Users, make_user, save_users

# The least that is allowed: hashing takes no time then.
ITERATIONS = 4096
PASSWORD = "pencil"


@cache
def _made(name: str, password: str, roles: frozenset[Role], buckets: frozenset[tuple[str, frozenset[Role]]]) -> User:
    return make_user(name, password, roles, dict(buckets), ITERATIONS)


def user(name: str, *roles: Role, password: str = PASSWORD, buckets: Mapping[str, Iterable[Role]] | None = None) -> User:
    """Make a user, once for all tests.

    Args:
        name: Its name.
        roles: What it may do in every bucket.
        password: Its password.
        buckets: What it may do in a single bucket.
    """
    return _made(name, password, frozenset(roles), frozenset((bucket, frozenset(held)) for bucket, held in (buckets or {}).items()))


ANN = user("ann", Role.ADMIN)
BOB = user("bob", buckets={"orders": [Role.READ, Role.WRITE]})
EVE = user("eve", Role.READ)


def write_users(path: Path, *users: User, **options: bytes) -> Path:
    """Write a file of users, and return its path."""
    save_users(path, Users(users, **options))
    return path
