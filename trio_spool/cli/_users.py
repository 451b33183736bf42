"""``trio-spool user``: who may log in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import attrs
import click
from rich.table import Table
from rich.text import Text

from ..auth import Role, User, Users, UsersError, changing_users, load_users, make_user, save_users
from ._commands import print_table
from ._passwords import ask_password, read_password

ROLES = [role.value for role in Role]

users_option = click.option(
    "--users",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="TRIO_SPOOL_USERS",
    show_envvar=True,
    help="The file of users.",
)
stdin_option = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Take the first line of standard input as the password, instead of asking."
)


class BucketRoles(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``BUCKET:ROLE[,ROLE…]``."""

    name = "BUCKET:ROLE[,ROLE…]"

    def convert(
        self, value: str | tuple[str, list[Role]], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, list[Role]]:
        """Split it."""
        if isinstance(value, tuple):
            return value
        bucket, _, roles = value.rpartition(":")
        names = roles.split(",")
        if not bucket or not set(names) <= set(ROLES):
            self.fail(
                f"{value!r} is not BUCKET:ROLE[,ROLE…], as in orders:read,write; the roles are {', '.join(ROLES)}", param, ctx
            )
        return bucket, [Role(name) for name in names]


@click.group()
def user() -> None:
    """Say who may log in to a server.

    The file of users keeps salted hashes of the passwords, and what each user may do.
    """


@user.command()
@click.argument("name")
@users_option
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="What the user may do in every bucket; may be given several times. By default read and write, or with --bucket nothing.",
)
@click.option(
    "--bucket",
    "buckets",
    type=BucketRoles(),
    multiple=True,
    help="What the user may do in one bucket beyond that; may be given several times.",
)
@stdin_option
def add(name: str, path: Path, roles: tuple[str, ...], buckets: tuple[tuple[str, list[Role]], ...], from_stdin: bool) -> None:
    """Add the user NAME; make the file if there is none.

    With the role admin, a user may do everything.
    """
    _load_without(name, path)  # before the password is asked for
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
        found = _find(users, name, path)  # may have been changed, or removed, while the password was typed
        changed = attrs.evolve(found, keys=changed.keys)
        _save(path, users.with_user(changed), f"changed the password of {found.name}")


@user.command("list")
@users_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def list_(path: Path, as_json: bool) -> None:
    """Print the users, and what they may do."""
    table = Table("user", "every bucket", "one bucket")
    for found in sorted(_load(path), key=lambda user: user.name):
        roles, buckets = _names(found.roles), {bucket: _names(held) for bucket, held in found.buckets.items()}
        if as_json:
            click.echo(json.dumps({"name": found.name, "roles": roles, "buckets": buckets}))
        else:
            # Text: in a name, brackets are no markup.
            lines = "\n".join(f"{bucket}: {', '.join(held)}" for bucket, held in buckets.items())
            table.add_row(Text(found.name), ", ".join(roles), Text(lines))
    if not as_json:
        print_table(table)


@user.command()
@click.argument("name")
@users_option
def remove(name: str, path: Path) -> None:
    """Remove the user NAME."""
    _find(_load(path), name, path)  # a lock beside a file that is not there would stay
    with _changing(path):
        users = _load(path)
        found = _find(users, name, path)
        _save(path, users.without(found.name), f"removed {found.name}")


def _names(roles: frozenset[Role]) -> list[str]:
    return [role.value for role in Role if role in roles]


def _load(path: Path) -> Users:
    try:
        return load_users(path)
    except UsersError as exc:
        _fail(str(exc))


def _load_without(name: str, path: Path) -> Users:
    users = _load(path) if os.path.exists(path) else Users()
    if users.get(name) is not None:
        _fail(f"there is a user {name!r} already; to change its password: trio-spool user passwd NAME")
    return users


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        with changing_users(path):
            yield
    except UsersError as exc:
        _fail(str(exc))


def _find(users: Users, name: str, path: Path) -> User:
    found = users.get(name)
    if found is None:
        _fail(f"there is no user {name!r} in {path}")
    return found


def _make(name: str, password: str, roles: frozenset[Role], buckets: Mapping[str, frozenset[Role]]) -> User:
    try:
        return make_user(name, password, roles, buckets)
    except ValueError as exc:
        _fail(str(exc))


def _save(path: Path, users: Users, done: str) -> None:
    try:
        save_users(path, users)
    except UsersError as exc:
        _fail(str(exc))
    click.echo(f"{done}; a running server takes it over at SIGHUP")


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message)
