"""Which protocol a connection speaks: its first byte decides, as in memcached."""

from __future__ import annotations

from ..conversation import Begin
from .binary import FIRST_BYTES, BinaryGuest, refuse_request


def detect(first: int) -> Begin | None:
    """Return how a conversation begins whose first byte is this one; None if no protocol begins so."""
    return BinaryGuest if first in FIRST_BYTES else None


def refuse_first(data: bytes, why: str) -> bytes | None:
    """Return the answer to the first request of a client that may not stay.

    Args:
        data: What has arrived of the request.
        why: What the client is told.

    Returns:
        The answer; nothing if no protocol begins so; None if too little has arrived.
    """
    return refuse_request(data, why) if data[0] in FIRST_BYTES else b""
