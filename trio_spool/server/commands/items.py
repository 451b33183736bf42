"""Commands on single items: the operations that they are, and what is counted of their outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ...engine import (
    Arithmetic,
    Concat,
    Delete,
    Fetch,
    Flush,
    Invalidate,
    Lock,
    Outcome,
    Problem,
    Store,
    StoreMode,
    Touch,
    Unlock,
    is_json,
)
from ..data import Bucket
from ..shared import Counters
from .errors import InvalidRequestError
from .expiry import expiry_in, flush_time

# Seconds for which an item is locked if the client does not say, or asks for more than the maximum. Both are kv_engine's.
DEFAULT_LOCK: Final = 15
MAX_LOCK: Final = 30
# The CAS that is shown of a locked item, as kv_engine does.
LOCKED_CAS: Final = 0xFFFFFFFFFFFFFFFF
# A CAS that no item has, for a client that compares with 0, which is none.
NO_CAS: Final = 0xFFFFFFFFFFFFFFFF
# The datatype of a value that is JSON.
JSON: Final = 1


def store(
    bucket: Bucket,
    key: bytes,
    value: bytes,
    *,
    mode: StoreMode = StoreMode.SET,
    flags: int = 0,
    expiry: int = 0,
    cas: int = 0,
    keep_expiry: bool = False,
    datatype: int = 0,
    new_cas: int = 0,
    or_stale: bool = False,
) -> Store:
    """Store a value; the expiry is as the client gives it."""
    return Store(key, value, flags, expiry_in(bucket, key, expiry), datatype, mode, cas, keep_expiry, new_cas, or_stale)


def datatype_of_value(value: bytes) -> int:
    """Return the datatype of a value. For a large one, call `documents.detect_json_in_thread`."""
    return JSON if is_json(value) else 0


def concatenate(key: bytes, value: bytes, *, prepend: bool, cas: int, max_size: int, datatype: int = 0, inline: int = 0) -> Concat:
    """Append to a value, or prepend. The item keeps its flags and its expiry; `datatype` is that of a result which is JSON."""
    return Concat(key, value, prepend, max_size, cas, datatype, inline)


def concatenate_or_create(
    bucket: Bucket,
    key: bytes,
    value: bytes,
    *,
    prepend: bool,
    cas: int,
    max_size: int,
    flags: int,
    expiry: int | None,
    new_cas: int,
) -> Concat:
    """Append to a value, or prepend, or create it. An expiry of None says not to create it."""
    absolute = expiry_in(bucket, key, expiry) if expiry is not None else 0
    create = expiry is not None
    return Concat(key, value, prepend, max_size, cas, create=create, flags=flags, expiry=absolute, new_cas=new_cas)


def count(
    bucket: Bucket,
    key: bytes,
    delta: int,
    *,
    initial: int,
    expiry: int | None,
    cas: int,
    datatype: int = 0,
    new_expiry: int | None = None,
    padded: bool = False,
    new_cas: int = 0,
) -> Arithmetic:
    """Add to a number. An expiry of None says not to create it; a new expiry of None, to leave that of an existing one."""
    create = expiry is not None
    absolute = expiry_in(bucket, key, expiry) if expiry is not None else 0
    changed = expiry_in(bucket, key, new_expiry) if new_expiry is not None else None
    return Arithmetic(key, delta, initial, absolute, create, cas, datatype, changed, padded, new_cas)


def touch(bucket: Bucket, key: bytes, expiry: int, *, keep_cas: bool = False) -> Touch:
    """Change the expiry of an item."""
    return Touch(key, expiry_in(bucket, key, expiry), keep_cas)


def fetch(
    bucket: Bucket,
    key: bytes,
    *,
    create: int | None = None,
    recache: int | None = None,
    expiry: int | None = None,
    new_cas: int = 0,
    clock: Callable[[], float] = time.time,
) -> Fetch:
    """Return an item, and decide who is to make a new value: `recache` is the seconds left below which this client may."""
    return Fetch(
        key,
        None if create is None else expiry_in(bucket, key, create),
        None if recache is None else clock() + recache,
        None if expiry is None else expiry_in(bucket, key, expiry),
        new_cas,
    )


def invalidate(
    bucket: Bucket, key: bytes, *, cas: int, expiry: int | None, stale: bool, drop_value: bool, new_cas: int
) -> Invalidate:
    """Mark an item as stale, or remove its value."""
    return Invalidate(key, cas, None if expiry is None else expiry_in(bucket, key, expiry), stale, drop_value, new_cas)


def compared(cas: int | None) -> int:
    """Return the condition for a CAS that a client compares with; None for no condition."""
    return 0 if cas is None else cas or NO_CAS


def lock(key: bytes, seconds: int) -> Lock:
    """Lock an item for some seconds; 0, and more than `MAX_LOCK`, stand for `DEFAULT_LOCK`."""
    return Lock(key, seconds if 0 < seconds <= MAX_LOCK else DEFAULT_LOCK)


def unlock(key: bytes, cas: int) -> Unlock:
    """Unlock an item that was locked with a CAS.

    Raises:
        InvalidRequestError: There is no CAS.
    """
    if not cas:
        raise InvalidRequestError("unlocking needs the CAS that locked the item")
    return Unlock(key, cas)


def delete(key: bytes, cas: int = 0) -> Delete:
    """Delete an item. A CAS other than 0 is a condition."""
    return Delete(key, cas)


def flush(delay: int) -> Flush:
    """Empty the bucket, now or after a delay."""
    return Flush(flush_time(max(delay, 0)))


def shown_cas(bucket: Bucket, key: bytes, cas: int) -> int:
    """Return the CAS to show of an item: while the item is locked, one that can't be used."""
    engine = bucket.engine
    return LOCKED_CAS if engine.locks and engine.is_locked(key) else cas


# Counting


def count_get(counters: Counters, *, found: bool) -> None:
    """Count one read."""
    counters.cmd_get += 1
    if found:
        counters.get_hits += 1
    else:
        counters.get_misses += 1


def count_gets(counters: Counters, hits: int, misses: int) -> None:
    """Count reads."""
    counters.cmd_get += hits + misses
    counters.get_hits += hits
    counters.get_misses += misses


def count_store(counters: Counters, outcome: Outcome, cas: int) -> None:
    """Count a store, and whether its CAS matched."""
    counters.cmd_set += 1
    if outcome.problem is None:
        counters.total_items += 1
        counters.cas_hits += cas != 0
    elif cas:
        counters.cas_misses += outcome.problem is Problem.NOT_FOUND
        counters.cas_badval += outcome.problem is Problem.EXISTS


def count_delete(counters: Counters, outcome: Outcome) -> None:
    """Count a deletion."""
    counters.delete_hits += outcome.problem is None
    counters.delete_misses += outcome.problem is not None


def count_arithmetic(counters: Counters, outcome: Outcome, *, decrement: bool) -> None:
    """Count arithmetic."""
    hit = outcome.problem is not Problem.NOT_FOUND
    if decrement:
        counters.decr_hits += hit
        counters.decr_misses += not hit
    else:
        counters.incr_hits += hit
        counters.incr_misses += not hit


def count_touch(counters: Counters, outcome: Outcome) -> None:
    """Count a touch."""
    counters.cmd_touch += 1
    counters.touch_hits += outcome.problem is None
    counters.touch_misses += outcome.problem is not None
