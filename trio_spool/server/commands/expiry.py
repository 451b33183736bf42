"""Expiry times, as clients give them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..data import Bucket

# memcached's bound between relative and absolute times.
THIRTY_DAYS = 30 * 24 * 60 * 60
# An expiry that passed long ago: the earliest one that is no relative one.
PAST = THIRTY_DAYS + 1
# The latest expiry: in replies and in scans, it is an unsigned number of 32 bits.
LATEST = 0xFFFFFFFF


def absolute_expiry(expiry: int, clock: Callable[[], float] = time.time) -> int:
    """Return an expiry as a Unix time, or 0 for never.

    Up to thirty days, it is given in seconds from now; above, it is a Unix time already. Expiries are whole seconds. A relative
    one is rounded up, so that nothing expires early. A negative one has passed.

    Args:
        expiry: The expiry.
        clock: Returns the Unix time.
    """
    if 0 < expiry <= THIRTY_DAYS:
        return min(math.ceil(clock()) + expiry, LATEST)
    return expiry if expiry >= 0 else PAST


def expiry_in(bucket: Bucket, key: bytes, expiry: int, clock: Callable[[], float] = time.time) -> int:
    """Return `absolute_expiry`, but not later than the collection of the key allows."""
    absolute = absolute_expiry(expiry, clock)
    if key[0] == 0:
        return absolute  # the default collection has no such limit
    collection = bucket.collection_of(key)
    if collection is None or not collection.max_ttl:
        return absolute
    latest = min(math.ceil(clock()) + collection.max_ttl, LATEST)
    return min(absolute or latest, latest)


def flush_time(delay: int) -> float:
    """Return when a delayed flush happens: a Unix time, or 0 for now."""
    return time.time() + delay if 0 < delay <= THIRTY_DAYS else delay
