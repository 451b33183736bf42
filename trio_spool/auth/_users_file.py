"""The file of users, in JSON. It is checked in full when it is read, and replaced as a whole when it is written.

::

    {"format": 1, "secret": base64, "users": {name: {
        "roles": [role], "buckets": {bucket: [role]},
        "scram": {mechanism: {"salt": base64, "iterations": n, "stored_key": base64, "server_key": base64}}}}}

``secret`` is what fake keys are made from, so that unknown users look the same after a restart.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from .._files import explain, open_replacement, read_bounded
from ._errors import UsersError
from ._scram import MECHANISMS, ScramKeys, digest_size
from ._users import MAX_ITERATIONS, MIN_ITERATIONS, SECRET_SIZE, Role, User, Users, check_bucket, prepare_name

FORMAT = 1
# The maximum number of bytes of a file of users. Picked: a user has about 700, so this is enough for almost a hundred thousand.
MAX_SIZE = 64 * 1024 * 1024
# The maximum length of a salt that is read, in bytes: picked, not measured. New ones have `SALT_SIZE`.
MAX_SALT = 64


def save_users(path: Path, users: Users) -> None:
    """Write a file of users that only its owner can read. If that fails, the old file is left as it was.

    Raises:
        UsersError: The file can't be written.
    """
    content = json.dumps(_to_json(users), indent=1, ensure_ascii=False) + "\n"
    try:
        with open_replacement(path, mode=0o600) as file:
            keep_owner(path, file.fileno())
            file.write(content.encode())
    except OSError as exc:
        raise UsersError(f"can't write the users to {path}: {explain(exc)}; check who owns it and its directory") from exc


def keep_owner(target: Path, descriptor: int) -> None:
    """Give a new file to the owner of the old one, since the server must be able to read a file that root has changed.

    Args:
        target: The path of the old file, which may be missing.
        descriptor: The open new file.
    """
    if target.exists() and os.geteuid() == 0:
        status = target.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def load_users(path: Path) -> Users:
    """Read a file of users.

    Raises:
        UsersError: The file can't be read, or its content is not what `save_users` writes.
    """
    try:
        content = json.loads(read_bounded(path, MAX_SIZE), object_pairs_hook=_to_dict)
        return _from_json(content)
    except FileNotFoundError:
        raise UsersError(f"the file of users {path} is missing; make it with: trio-spool user add NAME --users {path}") from None
    except OSError as exc:
        raise UsersError(f"can't read the users in {path}: {explain(exc)}; check who owns it") from exc
    except _NewerError as exc:
        raise UsersError(
            f"{path} was written by a newer version (format {exc}; this version reads {FORMAT}); upgrade trio-spool"
        ) from None
    except _ShapeError as exc:
        raise UsersError(f"{path} is not a file of users as trio-spool writes it: {exc}; restore it from a backup") from None
    except (ValueError, RecursionError):
        raise UsersError(f"{path} is not JSON; restore it from a backup, or name another file") from None


class _ShapeError(Exception):
    """The file is JSON, but does not describe users."""


class _NewerError(Exception):
    """The format of the file is newer than `FORMAT`."""


def _to_json(users: Users) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "secret": _encode(users.secret),
        "users": {
            user.name: {
                "roles": _names(user.roles),
                "buckets": {bucket: _names(roles) for bucket, roles in user.buckets.items()},
                "scram": {
                    mechanism: {
                        "salt": _encode(keys.salt),
                        "iterations": keys.iterations,
                        "stored_key": _encode(keys.stored_key),
                        "server_key": _encode(keys.server_key),
                    }
                    for mechanism, keys in user.keys.items()
                },
            }
            for user in users
        },
    }


def _names(roles: frozenset[Role]) -> list[str]:
    return [role.value for role in Role if role in roles]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _ShapeError("an object has the same name twice")
    return found


def _from_json(content: Any) -> Users:
    if isinstance(content, dict) and type(content.get("format")) is int and content["format"] > FORMAT:
        raise _NewerError(content["format"])
    top = _fields(content, "the file", {"format", "secret", "users"})
    if type(top["format"]) is not int or top["format"] != FORMAT:
        raise _ShapeError(f"format must be {FORMAT}")
    secret = _decode(top["secret"], "secret", range(SECRET_SIZE, SECRET_SIZE + 1))
    return Users([_read_user(name, value) for name, value in _fields(top["users"], "users").items()], secret)


def _read_user(name: str, value: Any) -> User:
    where = f"users.{name!a}"
    try:
        prepared = prepare_name(name)
    except ValueError as exc:
        raise _ShapeError(f"{where}: the name can't be used: {exc}") from None
    if prepared != name:
        raise _ShapeError(f"{where}: the name is not prepared with SASLprep")
    fields = _fields(value, where, {"roles", "buckets", "scram"})
    buckets = {}
    for bucket, roles in _fields(fields["buckets"], f"{where}.buckets").items():
        try:
            check_bucket(bucket)
        except ValueError as exc:
            raise _ShapeError(f"{where}.buckets: {exc}") from None
        buckets[bucket] = _read_roles(roles, f"{where}.buckets.{bucket!a}")
    scram = _fields(fields["scram"], f"{where}.scram", set(MECHANISMS))
    keys = {mechanism: _read_keys(mechanism, scram[mechanism], f"{where}.scram.{mechanism}") for mechanism in MECHANISMS}
    return User(name, _read_roles(fields["roles"], f"{where}.roles"), buckets, keys)


def _read_roles(value: Any, where: str) -> frozenset[Role]:
    known = {role.value: role for role in Role}
    if not isinstance(value, list) or not all(isinstance(name, str) and name in known for name in value):
        raise _ShapeError(f"{where} must be a list of {', '.join(known)}")
    return frozenset(known[name] for name in value)


def _read_keys(mechanism: str, value: Any, where: str) -> ScramKeys:
    fields = _fields(value, where, {"salt", "iterations", "stored_key", "server_key"})
    iterations = fields["iterations"]
    if type(iterations) is not int or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise _ShapeError(f"{where}.iterations must be {MIN_ITERATIONS} to {MAX_ITERATIONS}")
    size = range(digest_size(mechanism), digest_size(mechanism) + 1)
    return ScramKeys(
        _decode(fields["salt"], f"{where}.salt", range(1, MAX_SALT + 1)),
        iterations,
        _decode(fields["stored_key"], f"{where}.stored_key", size),
        _decode(fields["server_key"], f"{where}.server_key", size),
    )


def _fields(value: Any, where: str, names: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _ShapeError(f"{where} must be an object")
    if names is not None and set(value) != names:
        raise _ShapeError(f"{where} must have the fields {', '.join(sorted(names))}, and no others")
    return value


def _decode(value: Any, where: str, sizes: range) -> bytes:
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True)
    except (AttributeError, ValueError):
        raise _ShapeError(f"{where} must be base64") from None
    if len(data) not in sizes:
        raise _ShapeError(f"{where} must have {sizes[0]} bytes" if len(sizes) == 1 else f"{where} must have 1 to {sizes[-1]} bytes")
    return data
