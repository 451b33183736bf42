"""The file of users, as the commands read and change it; and roles as their options take them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..auth import Role, User, Users, UsersError, changing_users, load_users, save_users
from ._errors import FileError, explained

ROLES = [role.value for role in Role]

users_option = click.option(
    "--users",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="TRIO_SPOOL_USERS",
    show_envvar=True,
    help="The file of users, which serve reads with its option --users.",
)


class BucketRoles(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``BUCKET:ROLE[,ROLE…]``; with `anywhere`, the bucket may be left out, which stands for every bucket."""

    def __init__(self, *, anywhere: bool = False) -> None:
        self._anywhere = anywhere
        self.name = "[BUCKET:]ROLE[,ROLE…]" if anywhere else "BUCKET:ROLE[,ROLE…]"

    def convert(
        self, value: str | tuple[str, list[Role]], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, list[Role]]:
        """Parse roles. Without a bucket, its name is empty."""
        if isinstance(value, tuple):
            return value
        bucket, colon, roles = value.rpartition(":")
        names = roles.split(",")
        if not (bucket or (self._anywhere and not colon)) or not set(names) <= set(ROLES):
            self.fail(
                f"{value!r} is not {self.name}; an example is orders:read,write; the roles are {', '.join(ROLES)}",
                param,
                ctx,
            )
        return bucket, [Role(name) for name in names]


def names_of(roles: frozenset[Role]) -> list[str]:
    """Return the names of roles, in the order in which they are always listed."""
    return [role.value for role in Role if role in roles]


def load(path: Path) -> Users:
    """Read the file.

    Raises:
        FileError: It can't be read.
    """
    with explained(UsersError, as_=FileError):
        return load_users(path)


def load_without(name: str, path: Path) -> Users:
    """Read the file, which may not exist, for a user who is to be added.

    Raises:
        FileError: It can't be read, or has this user.
    """
    users = load(path) if os.path.exists(path) else Users()
    if users.get(name) is not None:
        raise FileError(
            f"the user {name!r} exists already in {path}; to change the roles: trio-spool user roles NAME; "
            "to change the password: trio-spool user passwd NAME"
        )
    return users


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep others from changing the file in the block."""
    with explained(UsersError, as_=FileError), changing_users(path):
        yield


def find(users: Users, name: str, path: Path) -> User:
    """Return a user.

    Raises:
        FileError: The file does not have the user.
    """
    found = users.get(name)
    if found is None:
        raise FileError(f"there is no user {name!r} in {path}; to list the users: trio-spool user list")
    return found


def save(path: Path, users: Users, done: str) -> None:
    """Write the file, and say what was done."""
    with explained(UsersError, as_=FileError):
        save_users(path, users)
    click.echo(f"{done}; a running server applies this at SIGHUP")
