"""Buckets: which there are for a user, and changing them."""

from __future__ import annotations

from typing import Any

from ...auth import User
from ...engine import EngineError
from ..data import DEFAULT_OPTIONS, Bucket, BucketError, BucketOptions, check_bound, parse_size
from ..shared import Shared
from .errors import NoAccessError, UnavailableError


def selectable(shared: Shared, user: User | None, name: str) -> Bucket:
    """Return a bucket that a user may select.

    Raises:
        NoAccessError: There is no such bucket, or the user may not use it: the message does not say which.
        UnavailableError: The bucket is broken.
    """
    bucket = shared.buckets.get(name)
    if name in shared.buckets.broken and user is not None and user.may_use(name):
        raise UnavailableError(f"the bucket {name!r:.120} is broken; the server's log says why")
    if bucket is None or user is None or not user.may_use(name):
        raise NoAccessError(f"no bucket is named {name!r:.120}, or this user may not use it")
    return bucket


def names(shared: Shared, user: User | None) -> list[str]:
    """Return the names of the buckets that a user may use, sorted. Broken ones are left out: nobody can use them."""
    return sorted(bucket.name for bucket in shared.buckets if user is not None and user.may_use(bucket.name))


def parse_config(config: str) -> BucketOptions:
    """Parse what clients may say of a bucket that they make: ``max_size=BYTES;evict=POLICY``, both optional.

    What kv_engine's clients send is accepted, too: there, the path of a module comes first, and ends with a zero byte. Of what
    follows, the keys that mean nothing here are left out.

    Raises:
        BucketError: It says something else.
    """
    module, zero, rest = config.partition("\0")
    options: dict[str, Any] = {}
    for part in (rest if zero else module).strip("\0").split(";"):
        key, _, value = (text.strip() for text in part.partition("="))
        try:
            if key == "max_size":
                options["max_size"] = parse_size(value)
            elif key == "evict":
                check_bound(None, value)
                options["evict"] = value
            elif key and not zero:
                raise ValueError(f"it may set max_size and evict; got {part!r:.80}")
        except ValueError as exc:
            raise BucketError(f"the configuration of a bucket is not valid: {exc}") from None
    return BucketOptions(**options)


async def create(shared: Shared, name: str, options: BucketOptions = DEFAULT_OPTIONS) -> None:
    """Make a bucket.

    Raises:
        BucketError: It can't be made.
        UnavailableError: Its directory can't be used.
    """
    try:
        await shared.buckets.create(name, options)
    except EngineError as exc:
        raise UnavailableError(str(exc)) from exc


async def delete(shared: Shared, name: str, connection: int) -> None:
    """Delete a bucket. Connections that have selected it are closed, except the one that asks, which stays without a bucket.

    Raises:
        BucketError: It can't be deleted.
        UnavailableError: Its directory can't be removed.
    """
    try:
        await shared.buckets.delete(name, lambda bucket: shared.leave(bucket, connection))
    except EngineError as exc:
        raise UnavailableError(str(exc)) from exc
