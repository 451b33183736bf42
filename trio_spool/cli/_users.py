"""``trio-spool user``: the users who may log in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import click

from .._formats import visible
from ..auth import Role, User, make_user
from ._commands import Group, print_table
from ._errors import LoginError, explained
from ._passwords import ask_password, read_password
from ._user_roles import roles as roles_
from ._users_file import ROLES, BucketRoles, changing, find, load, load_without, names_of, save, users_option

stdin_option = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input. By default, ask for it.",
)


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
    load_without(name, path)  # fails before the password is asked for
    if not roles and not buckets:
        roles = (Role.READ.value, Role.WRITE.value)
    by_bucket: dict[str, frozenset[Role]] = {}
    for bucket, held in buckets:
        by_bucket[bucket] = by_bucket.get(bucket, frozenset()) | frozenset(held)
    added = _make(name, read_password() if from_stdin else ask_password(confirm=True), frozenset(map(Role, roles)), by_bucket)
    with changing(path):
        save(path, load_without(name, path).with_user(added), f"added {added.name}")


user.add_command(roles_)


@user.command()
@click.argument("name")
@users_option
@stdin_option
def passwd(name: str, path: Path, from_stdin: bool) -> None:
    """Change the password of the user NAME."""
    found = find(load(path), name, path)
    changed = _make(found.name, read_password() if from_stdin else ask_password(confirm=True), found.roles, found.buckets)
    with changing(path):
        users = load(path)
        found = find(users, name, path)  # another process may have changed or removed it while the password was typed
        changed = attrs.evolve(found, keys=changed.keys)
        save(path, users.with_user(changed), f"changed the password of {found.name}")


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
    for found in sorted(load(path), key=lambda user: user.name):
        roles, buckets = names_of(found.roles), {bucket: names_of(held) for bucket, held in found.buckets.items()}
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
    find(load(path), name, path)  # without this, the lock of a file that does not exist would stay behind
    with changing(path):
        users = load(path)
        found = find(users, name, path)
        save(path, users.without(found.name), f"removed {found.name}")


def _make(name: str, password: str, roles: frozenset[Role], buckets: Mapping[str, frozenset[Role]]) -> User:
    with explained(ValueError, as_=LoginError):
        return make_user(name, password, roles, buckets)
