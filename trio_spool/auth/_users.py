"""Users and their roles. They have salted hashes in place of passwords."""

from __future__ import annotations

import enum
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from ._saslprep import saslprep
from ._scram import MECHANISMS, ScramKeys, derive_keys, digest_size, matches

# The number of iterations of PBKDF2. A thief of the file pays for them with each guess, the client with each login, and so does the
# server in a login with PLAIN. Measured: 15,000 take 5 ms of a processor with SHA-512, 3 ms with the other hashes. The minimum is
# that of RFC 5802. The maximum keeps a damaged file from making a login take minutes.
ITERATIONS = 15_000
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000
# The length of a new salt, and of the secret that fake keys are made from, in bytes: picked, not measured.
SALT_SIZE = 16
SECRET_SIZE = 32
# The maximum length of a name, in characters, after preparation: picked, not measured.
MAX_NAME = 128
# How much longer than that a name may be before preparation, which can make it shorter: a bound on the time of SASLprep. Picked.
_UNPREPARED = 4


class Role(enum.Enum):
    """A role, which a user can have everywhere or in one bucket."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    """Everything, including what the other roles allow."""
    STATS = "stats"


def _freeze(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class User:
    """A user.

    Attributes:
        name: The name, prepared with SASLprep.
        roles: The roles that the user has in every bucket.
        buckets: Further roles, by the name of the bucket.
        keys: The keys, by mechanism.
    """

    name: str
    roles: frozenset[Role]
    buckets: Mapping[str, frozenset[Role]] = attrs.field(converter=_freeze)
    keys: Mapping[str, ScramKeys] = attrs.field(converter=_freeze, repr=False)

    def may(self, role: Role, bucket: str | None) -> bool:
        """Return whether the user has a role in a bucket, or in every bucket if `bucket` is None."""
        held = self.roles if bucket is None else self.roles | self.buckets.get(bucket, frozenset())
        return role in held or Role.ADMIN in held

    def may_use(self, bucket: str) -> bool:
        """Return whether the user has any role in a bucket."""
        return bool(self.roles or self.buckets.get(bucket))


def make_user(
    name: str, password: str, roles: Iterable[Role], buckets: Mapping[str, Iterable[Role]], iterations: int = ITERATIONS
) -> User:
    """Make a user with new salts.

    Args:
        name: The name, as it was typed.
        password: The password, as it was typed.
        roles: The roles for every bucket.
        buckets: Further roles, by the name of the bucket.
        iterations: The number of iterations of PBKDF2.

    Raises:
        ValueError: The name, the password, the name of a bucket, or the number of iterations can't be used.
    """
    try:
        prepared = prepare_name(name)
    except ValueError as exc:
        raise ValueError(f"the user name can't be used: {exc}") from None
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"the number of iterations must be {MIN_ITERATIONS} to {MAX_ITERATIONS}, not {iterations}")
    for bucket in buckets:
        check_bucket(bucket)
    try:
        if not saslprep(password):
            raise ValueError("it is empty")
        keys = {mechanism: derive_keys(mechanism, password, secrets.token_bytes(SALT_SIZE), iterations) for mechanism in MECHANISMS}
    except ValueError as exc:
        raise ValueError(f"the password can't be used: {exc}") from None
    return User(prepared, frozenset(roles), {bucket: frozenset(held) for bucket, held in buckets.items()}, keys)


def prepare_name(name: str) -> str:
    """Return the name of a user as it is stored.

    Raises:
        ValueError: The name can't be used.
    """
    prepared = saslprep(name) if len(name) <= _UNPREPARED * MAX_NAME else name
    if not 1 <= len(prepared) <= MAX_NAME:
        raise ValueError(f"it must have 1 to {MAX_NAME} characters")
    return prepared


def check_bucket(name: str) -> None:
    """Check that a bucket can have this name.

    Raises:
        ValueError: It can't.
    """
    if not name or not name.isprintable():
        raise ValueError(f"a bucket can't be named {name!r}: the name must not be empty, and must be printable")


class Users:
    """An immutable collection of users.

    Args:
        users: The users. Of two users with the same name, the later one is kept.
        secret: The secret that fake keys are made from. By default, a new one is made.

    Attributes:
        secret: That secret.
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
        """Return the user with a name, which need not be prepared, or None."""
        try:
            return self._users.get(prepare_name(name))
        except ValueError:
            return None

    def with_user(self, user: User) -> Users:
        """Return a collection with this user added, or in place of the user of the same name."""
        return Users([*self, user], self.secret)

    def without(self, name: str) -> Users:
        """Return a collection without the user of this name."""
        removed = self.get(name)
        return Users([user for user in self if user is not removed], self.secret)

    def keys_for(self, name: str, mechanism: str) -> ScramKeys:
        """Return the keys of a user, or fake ones for an unknown user, so that nobody can find out which users exist.

        Args:
            name: The prepared name, as `ScramExchange` gives it.
            mechanism: One of `MECHANISMS`.
        """
        fake = self._fake_keys(name, mechanism)  # for a real user too, so that the time taken tells nothing
        user = self._users.get(name)
        return fake if user is None else user.keys.get(mechanism, fake)

    def check_password(self, name: str, password: str, matches: Callable[[str, str, ScramKeys], bool] = matches) -> User | None:
        """Return the user if the password is right. Takes the same time whether or not the user exists.

        Args:
            name: As it was typed.
            password: As it was typed.
            matches: Tells whether keys of a mechanism belong to a password.
        """
        try:
            prepared = prepare_name(name)
        except ValueError:
            prepared = ""  # a name that no user has
        if matches(MECHANISMS[0], password, self.keys_for(prepared, MECHANISMS[0])):
            return self._users.get(prepared)
        return None

    def _fake_keys(self, name: str, mechanism: str) -> ScramKeys:
        """Make keys that no password has. They are always the same for a name, and as long as the keys of some real user."""

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
