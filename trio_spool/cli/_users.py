"""``trio-spool user``: the users who may log in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from .._formats import visible
from ..auth import Role, User, Users, UsersError, changing_users, load_users, make_user, save_users
from ._commands import Group, print_table
from ._errors import FileError, LoginError, explained
from ._passwords import ask_password, read_password

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
stdin_option = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input. By default, ask for it.",
)


class BucketRoles(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``BUCKET:ROLE[,ROLE…]``."""

    name = "BUCKET:ROLE[,ROLE…]"

    def convert(
        self, value: str | tuple[str, list[Role]], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, list[Role]]:
        """Parse the roles of a bucket."""
        if isinstance(value, tuple):
            return value
        bucket, _, roles = value.rpartition(":")
        names = roles.split(",")
        if not bucket or not set(names) <= set(ROLES):
            self.fail(
                f"{value!r} is not BUCKET:ROLE[,ROLE…]; an example is orders:read,write; the roles are {', '.join(ROLES)}",
                param,
                ctx,
            )
        return bucket, [Role(name) for name in names]


@click.group(cls=Group)
def user() -> None:
    """Decide who may log in to a server, and what each user may do.

    The file of users holds salted hashes of the passwords, and the roles of each user. A running server reads it again at SIGHUP.
    """


@user.command()
@click.argument("name")
@users_option
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="A role of the user in every bucket. Can be repeated. By default read and write, or none if --bucket is given.",
)
@click.option(
    "--bucket",
    "buckets",
    type=BucketRoles(),
    multiple=True,
    help="Further roles of the user in one bucket. Can be repeated. By default, none.",
)
@stdin_option
def add(name: str, path: Path, roles: tuple[str, ...], buckets: tuple[tuple[str, list[Role]], ...], from_stdin: bool) -> None:
    """Add the user NAME.

    The file of users is created if it does not exist. The role admin includes all others.
    """
    _load_without(name, path)  # fails before the password is asked for
    if not roles and not buckets:
        roles = (Role.READ.value, Role.WRITE.value)
    by_bucket: dict[str, frozenset[Role]] = {}
    for bucket, held in buckets:
        by_bucket[bucket] = by_bucket.get(bucket, frozenset()) | frozenset(held)
    added = _make(name, read_password() if from_stdin else ask_password(confirm=True), frozenset(map(Role, roles)), by_bucket)
    with _changing(path):
        _save(path, _load_without(name, path).with_user(added), f"added {added.name}")


@user.command()
@click.argument("name")
@users_option
@stdin_option
def passwd(name: str, path: Path, from_stdin: bool) -> None:
    """Change the password of the user NAME."""
    found = _find(_load(path), name, path)
    changed = _make(found.name, read_password() if from_stdin else ask_password(confirm=True), found.roles, found.buckets)
    with _changing(path):
        users = _load(path)
        found = _find(users, name, path)  # another process may have changed or removed it while the password was typed
        changed = attrs.evolve(found, keys=changed.keys)
        _save(path, users.with_user(changed), f"changed the password of {found.name}")


@user.command("list")
@users_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON, for programs: an object on its own line for each user. By default, print a table.",
)
def list_(path: Path, as_json: bool) -> None:
    """List the users and their roles."""
    rows: list[list[str]] = []
    for found in sorted(_load(path), key=lambda user: user.name):
        roles, buckets = _names(found.roles), {bucket: _names(held) for bucket, held in found.buckets.items()}
        if as_json:
            click.echo(json.dumps({"name": found.name, "roles": roles, "buckets": buckets}))
        else:
            held = "\n".join(f"{visible(bucket)}: {', '.join(names)}" for bucket, names in buckets.items())
            rows.append([visible(found.name), ", ".join(roles), held])
    if not as_json:
        print_table(["user", "every bucket", "one bucket"], rows)


@user.command()
@click.argument("name")
@users_option
def remove(name: str, path: Path) -> None:
    """Remove the user NAME."""
    _find(_load(path), name, path)  # without this, the lock of a file that does not exist would stay behind
    with _changing(path):
        users = _load(path)
        found = _find(users, name, path)
        _save(path, users.without(found.name), f"removed {found.name}")


def _names(roles: frozenset[Role]) -> list[str]:
    return [role.value for role in Role if role in roles]


def _load(path: Path) -> Users:
    with explained(UsersError, as_=FileError):
        return load_users(path)


def _load_without(name: str, path: Path) -> Users:
    users = _load(path) if os.path.exists(path) else Users()
    if users.get(name) is not None:
        raise FileError(f"the user {name!r} exists already in {path}; to change its password: trio-spool user passwd NAME")
    return users


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    with explained(UsersError, as_=FileError), changing_users(path):
        yield


def _find(users: Users, name: str, path: Path) -> User:
    found = users.get(name)
    if found is None:
        raise FileError(f"there is no user {name!r} in {path}; to list the users: trio-spool user list")
    return found


def _make(name: str, password: str, roles: frozenset[Role], buckets: Mapping[str, frozenset[Role]]) -> User:
    with explained(ValueError, as_=LoginError):
        return make_user(name, password, roles, buckets)


def _save(path: Path, users: Users, done: str) -> None:
    with explained(UsersError, as_=FileError):
        save_users(path, users)
    click.echo(f"{done}; a running server applies this at SIGHUP")
