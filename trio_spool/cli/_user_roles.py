"""``trio-spool user roles``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs
import click

from .._formats import visible
from ..auth import Role, User, check_bucket
from ._errors import FileError, LoginError, explained
from ._users_file import BucketRoles, changing, find, load, names_of, save, users_option

_EVERYWHERE = ""
_Changes = tuple[tuple[str, list[Role]], ...]


_ROLES = BucketRoles(anywhere=True)


@click.command()
@click.argument("name")
@users_option
@click.option("--grant", type=_ROLES, multiple=True, help="Give the user these roles as well. Can be repeated.")
@click.option("--revoke", type=_ROLES, multiple=True, help="Take these roles from the user. Can be repeated.")
@click.option("--set", type=_ROLES, multiple=True, help="Give the user these roles in place of all others. Can be repeated.")
def roles(name: str, path: Path, grant: _Changes, revoke: _Changes, set: _Changes) -> None:
    """Change the roles of the user NAME, or print them.

    Roles are such as read,write for every bucket, or orders:read,write for one. The password stays. Without --grant, --revoke and
    --set, nothing is changed, and the roles are printed.
    """
    if set and (grant or revoke):
        raise click.UsageError("--set can't be combined with --grant and --revoke")
    found = find(load(path), name, path)
    if not (grant or revoke or set):
        click.echo(_described(found))
        return
    with changing(path):
        users = load(path)
        changed = _change(find(users, name, path), grant, revoke, set)
        save(path, users.with_user(changed), f"changed the roles of {_described(changed)}")


def _change(user: User, grant: _Changes, revoke: _Changes, replace: _Changes) -> User:
    """Return a user with other roles.

    Raises:
        FileError: A role that is to be taken is not held.
        LoginError: A bucket can't have such a name.
    """
    held = {} if replace else {_EVERYWHERE: user.roles, **user.buckets}
    for bucket, wanted in (*replace, *grant):
        if bucket:
            with explained(ValueError, as_=LoginError):
                check_bucket(bucket)
        held[bucket] = held.get(bucket, frozenset()) | frozenset(wanted)
    for bucket, unwanted in revoke:
        if missing := frozenset(unwanted) - held.get(bucket, frozenset()):
            where = f"in the bucket {bucket}" if bucket else "in every bucket"
            raise FileError(
                f"{user.name} does not have {' and '.join(names_of(missing))} {where}; the roles are: {_described(user)}"
            )
        held[bucket] -= frozenset(unwanted)
    everywhere = held.pop(_EVERYWHERE, frozenset())
    return attrs.evolve(user, roles=everywhere, buckets={bucket: roles for bucket, roles in held.items() if roles})


def _described(user: User) -> str:
    """Return the name of a user, and the roles."""
    return f"{visible(user.name)}: {'; '.join(_places(user)) or 'no roles'}"


def _places(user: User) -> Iterable[str]:
    if user.roles:
        yield f"{', '.join(names_of(user.roles))} in every bucket"
    for bucket, held in user.buckets.items():
        yield f"{', '.join(names_of(held))} in the bucket {visible(bucket)}"
