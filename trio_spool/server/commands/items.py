"""Commands on single items: the operations that they are, and what is counted of their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...engine import (
    Arithmetic,
    Concat,
    Edit,
    Flush,
    Lock,
    Outcome,
    Problem,
    Step,
    Store,
    StoreMode,
    Touch,
    is_json,
)
from .expiry import expiry_in, flush_time

if TYPE_CHECKING:
    from .._buckets import Bucket
    from .._counters import Counters

# Seconds for which an item is locked if the client does not say, or asks for more than the most.
DEFAULT_LOCK: Final = 15
LONGEST_LOCK: Final = 30
# Bytes of a value in which JSON is detected: more would keep the event loop for milliseconds.
MOST_DETECTED: Final = 256 * 1024
# The CAS that is shown of a locked item.
LOCKED_CAS: Final = 0xFFFFFFFFFFFFFFFF
# What values of JSON are marked with.
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
) -> Store:
    """Store a value; the expiry is as the client gives it."""
    return Store(key, value, flags, expiry_in(bucket, key, expiry), datatype, mode, cas, keep_expiry)


def datatype_of_value(value: bytes, said: int) -> int:
    """Return what a value is, not what the client says, unless it is too large to look at here."""
    if len(value) > MOST_DETECTED:
        return said
    return JSON if is_json(value) else 0


def concatenate(key: bytes, value: bytes, *, prepend: bool, cas: int, max_size: int) -> Concat:
    """Append to a value, or prepend: the item keeps its flags and its expiry."""
    return Concat(key, value, prepend, max_size, cas)


def count(bucket: Bucket, key: bytes, delta: int, *, initial: int, expiry: int | None, cas: int) -> Arithmetic:
    """Add to a number; an expiry of None says not to create it."""
    create = expiry is not None
    return Arithmetic(key, delta, initial, expiry_in(bucket, key, expiry) if expiry is not None else 0, create, cas)


def touch(bucket: Bucket, key: bytes, expiry: int) -> Touch:
    """Give an item another expiry."""
    return Touch(key, expiry_in(bucket, key, expiry))


def lock(key: bytes, seconds: int) -> Lock:
    """Lock an item for so many seconds, or for as long as is usual."""
    return Lock(key, seconds if 0 < seconds <= LONGEST_LOCK else DEFAULT_LOCK)


def flush(delay: int) -> Flush:
    """Empty the bucket, now or after a while."""
    return Flush(flush_time(delay))


def edit(
    bucket: Bucket,
    key: bytes,
    steps: tuple[Step, ...],
    *,
    expiry: int | None,
    keep_expiry: bool,
    create: bool,
    add: bool,
    cas: int,
    max_size: int,
) -> Edit:
    """Change an item at paths; an expiry of None keeps the one that it has, and is none for one that is made."""
    new = expiry_in(bucket, key, expiry or 0)
    absolute = None if expiry is None or keep_expiry else new
    return Edit(key, steps, expiry=absolute, new_expiry=new, datatype=JSON, create=create, add=add, cas=cas, max_size=max_size)


def shown_cas(bucket: Bucket, key: bytes, cas: int) -> int:
    """Return the CAS to show of an item that has this one: it can't be used while that is locked."""
    engine = bucket.engine
    return LOCKED_CAS if engine.locks and engine.is_locked(key) else cas


# What is counted


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
    """Count a store, and what became of its condition."""
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
