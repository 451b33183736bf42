"""Expiry times as clients give them."""

from __future__ import annotations

import math
import time

THIRTY_DAYS = 30 * 24 * 60 * 60


def absolute_expiry(expiry: int) -> int:
    """Return a Unix time: 0 for never, up to thirty days are seconds from now, and above that it is one already.

    Expiries are whole seconds; a relative one is rounded up, so that nothing expires early.
    """
    if 0 < expiry <= THIRTY_DAYS:
        return math.ceil(time.time()) + expiry
    return expiry
