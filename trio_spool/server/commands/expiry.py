"""Expiry times as clients give them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._buckets import Bucket

THIRTY_DAYS = 30 * 24 * 60 * 60


def absolute_expiry(expiry: int) -> int:
    """Return a Unix time: 0 for never, up to thirty days are seconds from now, and above that it is one already.

    Expiries are whole seconds; a relative one is rounded up, so that nothing expires early.
    """
    if 0 < expiry <= THIRTY_DAYS:
        return math.ceil(time.time()) + expiry
    return expiry


def expiry_in(bucket: Bucket, key: bytes, expiry: int) -> int:
    """Return `absolute_expiry`, but no later than the key's collection allows."""
    absolute = absolute_expiry(expiry)
    if key[0] == 0:
        return absolute  # the default collection has no such bound
    collection = bucket.collection_of(key)
    if collection is None or not collection.max_ttl:
        return absolute
    latest = math.ceil(time.time()) + collection.max_ttl
    return min(absolute or latest, latest)


def flush_time(delay: int) -> float:
    """Return when a flush with a delay is to happen: a Unix time, 0 for now."""
    return time.time() + delay if 0 < delay <= THIRTY_DAYS else delay
