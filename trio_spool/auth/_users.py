"""Users, what they may do, and the file that keeps them: salted hashes, never passwords."""

from __future__ import annotations

import base64
import enum
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from .._files import explain, open_replacement
from ._errors import UsersError
from ._saslprep import saslprep
from ._scram import MECHANISMS, ScramKeys, derive_keys, digest_size, matches

FORMAT = 1
# Of PBKDF2. Whoever steals the file pays them for each guess; the client pays them for each login, and with PLAIN so does the
# server: 15,000 take 5 ms of a processor with SHA-512, 3 ms with the others. RFC 5802 wants 4096 at least. The upper bound keeps
# a damaged file from making a login last for minutes.
ITERATIONS = 15_000
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000
# Bytes, of new salts; what is read may have up to the second.
SALT_SIZE = 16
MAX_SALT = 64
SECRET_SIZE = 32
# Characters, after preparation.
MAX_NAME = 128


class Role(enum.Enum):
    """What a user may do, everywhere or in one bucket."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    """Everything, also what the other roles are for."""
    STATS = "stats"


def _freeze(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class User:
    """A user.

    Attributes:
        name: Prepared with SASLprep.
        roles: For every bucket.
        buckets: Beyond that, for one bucket.
        keys: By mechanism.
    """

    name: str
    roles: frozenset[Role]
    buckets: Mapping[str, frozenset[Role]] = attrs.field(converter=_freeze)
    keys: Mapping[str, ScramKeys] = attrs.field(converter=_freeze, repr=False)

    def may(self, role: Role, bucket: str | None) -> bool:
        """Return whether the user has a role in a bucket, or, for None, in every one."""
        held = self.roles if bucket is None else self.roles | self.buckets.get(bucket, frozenset())
        return role in held or Role.ADMIN in held

    def may_use(self, bucket: str) -> bool:
        """Return whether the user has any role in a bucket."""
        return bool(self.roles or self.buckets.get(bucket))


def make_user(
    name: str, password: str, roles: Iterable[Role], buckets: Mapping[str, Iterable[Role]], iterations: int = ITERATIONS
) -> User:
    """Make a user with new salts.

    Raises:
        ValueError: The name, the password, a bucket's name or the number of iterations can't be used.
    """
    try:
        prepared = prepare_name(name)
    except ValueError as exc:
        raise ValueError(f"the user name can't be used: {exc}") from None
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"there must be {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations, not {iterations}")
    for bucket in buckets:
        _check_bucket(bucket)
    try:
        if not saslprep(password):
            raise ValueError("it is empty")
        keys = {mechanism: derive_keys(mechanism, password, secrets.token_bytes(SALT_SIZE), iterations) for mechanism in MECHANISMS}
    except ValueError as exc:
        raise ValueError(f"the password can't be used: {exc}") from None
    return User(prepared, frozenset(roles), {bucket: frozenset(held) for bucket, held in buckets.items()}, keys)


def prepare_name(name: str) -> str:
    """Return a user's name as it is kept.

    Raises:
        ValueError: It can't be one.
    """
    # What SASLprep is given is bounded too, as a bound on its time.
    prepared = saslprep(name) if len(name) <= 4 * MAX_NAME else name
    if not 1 <= len(prepared) <= MAX_NAME:
        raise ValueError(f"it must have 1 to {MAX_NAME} characters")
    return prepared


def _check_bucket(name: str) -> None:
    if not name or not name.isprintable():
        raise ValueError(f"a bucket can't be named {name!r}: the name is empty, or not printable")


class Users:
    """A collection of users that never changes.

    Args:
        users: Of two with the same name, the later one.
        secret: What fake keys are made of; by default, a new one.
    """

    def __init__(self, users: Iterable[User] = (), secret: bytes | None = None) -> None:
        self._users = {user.name: user for user in users}
        self.secret = secrets.token_bytes(SECRET_SIZE) if secret is None else secret
        self._real = {m: [user.keys[m] for user in self if m in user.keys] for m in MECHANISMS}

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def __len__(self) -> int:
        return len(self._users)

    def get(self, name: str) -> User | None:
        """Return the user of a name, which is prepared first."""
        try:
            return self._users.get(prepare_name(name))
        except ValueError:
            return None

    def with_user(self, user: User) -> Users:
        """Return a collection in which this user is added, or replaces the one of its name."""
        return Users([*self, user], self.secret)

    def without(self, name: str) -> Users:
        """Return a collection without the user of a name, if there is one."""
        removed = self.get(name)
        return Users([user for user in self if user is not removed], self.secret)

    def keys_for(self, name: str, mechanism: str) -> ScramKeys:
        """Return a user's keys, or, so that nobody can find out who is one, fake keys that no password has.

        Args:
            name: Already prepared, as `ScramExchange` gives it.
            mechanism: One of MECHANISMS.
        """
        fake = self._fake_keys(name, mechanism)  # for a real user too: the time taken tells nothing
        user = self._users.get(name)
        return fake if user is None else user.keys.get(mechanism, fake)

    def check_password(self, name: str, password: str, matches: Callable[[str, str, ScramKeys], bool] = matches) -> User | None:
        """Return the user if the password is right. Takes the same time whether or not the user exists.

        Args:
            name: As it was typed.
            password: As it was typed.
            matches: Compares a password with the keys of a mechanism.
        """
        try:
            prepared = prepare_name(name)
        except ValueError:
            prepared = ""  # nobody's name
        if matches(MECHANISMS[0], password, self.keys_for(prepared, MECHANISMS[0])):
            return self._users.get(prepared)
        return None

    def _fake_keys(self, name: str, mechanism: str) -> ScramKeys:
        """Make keys that are always the same for a name, and have the sizes of some real user's."""

        def pseudo_random(purpose: str) -> bytes:
            return hmac.digest(self.secret, f"{purpose},{mechanism},{name}".encode(), "sha512")

        size = digest_size(mechanism)
        salt_size, iterations = SALT_SIZE, ITERATIONS
        if real := self._real[mechanism]:
            like = real[int.from_bytes(pseudo_random("like")[:8], "big") % len(real)]
            salt_size, iterations = len(like.salt), like.iterations
        return ScramKeys(
            pseudo_random("salt")[:salt_size], iterations, pseudo_random("stored")[:size], pseudo_random("server")[:size]
        )


def save_users(path: Path, users: Users) -> None:
    """Write a file of users that only its owner can read: all of it or, if anything fails, nothing.

    Raises:
        UsersError: It can't be written.
    """
    content = json.dumps(_to_json(users), indent=1, ensure_ascii=False) + "\n"
    try:
        with open_replacement(path, mode=0o600) as file:
            keep_owner(path, file.fileno())
            file.write(content.encode())
    except OSError as exc:
        raise UsersError(f"can't write the users to {path}: {explain(exc)}; check who owns it and its directory") from exc


def keep_owner(target: Path, descriptor: int) -> None:
    """Give the new file to the owner of the old one: root changes it, the server reads it."""
    if target.exists() and os.geteuid() == 0:
        status = target.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def load_users(path: Path) -> Users:
    """Read a file of users.

    Raises:
        UsersError: It can't be read, or is not what `save_users` writes.
    """
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_to_dict)
        return _from_json(content)
    except FileNotFoundError:
        raise UsersError(f"there is no file of users {path}; make one with: trio-spool user add NAME --users {path}") from None
    except OSError as exc:
        raise UsersError(f"can't read the users in {path}: {explain(exc)}; check who owns it") from exc
    except _NewerError as exc:
        raise UsersError(
            f"{path} was written by a newer version (format {exc}; this version reads {FORMAT}); upgrade trio-spool"
        ) from None
    except _ShapeError as exc:
        raise UsersError(f"{path} is not a file of users as trio-spool writes it: {exc}; restore it") from None
    except (ValueError, RecursionError):
        raise UsersError(f"{path} is not JSON; restore it, or name another file") from None


class _ShapeError(Exception):
    """The file is JSON, but not of users."""


class _NewerError(Exception):
    """The file has a later format."""


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
        raise _ShapeError("a name stands twice in the same object")
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
            _check_bucket(bucket)
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
