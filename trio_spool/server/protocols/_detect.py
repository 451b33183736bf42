"""Which protocol a connection speaks: its first byte decides, as in memcached."""

from __future__ import annotations

from ..conversation import Begin
from .binary import FIRST_BYTES, BinaryGuest


def detect(first: int) -> Begin | None:
    """Return how a conversation begins whose first byte is this one; None if no protocol begins so."""
    return BinaryGuest if first in FIRST_BYTES else None
