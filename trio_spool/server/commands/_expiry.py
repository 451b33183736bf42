"""Expiry times as clients give them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...mcbp import Request
    from .._exchange import Exchange

THIRTY_DAYS = 30 * 24 * 60 * 60


def absolute_expiry(expiry: int) -> int:
    """Return a Unix time: 0 for never, up to thirty days are seconds from now, and above that it is one already.

    Expiries are whole seconds; a relative one is rounded up, so that nothing expires early.
    """
    if 0 < expiry <= THIRTY_DAYS:
        return math.ceil(time.time()) + expiry
    return expiry


def expiry_for(exchange: Exchange, request: Request, expiry: int) -> int:
    """Return `absolute_expiry`, but no later than the item's collection allows."""
    absolute = absolute_expiry(expiry)
    if request.key[0] == 0:
        return absolute  # the default collection has no such bound
    collection = exchange.bucket.collection_of(request.key)
    if collection is None or not collection.max_ttl:
        return absolute
    latest = math.ceil(time.time()) + collection.max_ttl
    return min(absolute or latest, latest)
