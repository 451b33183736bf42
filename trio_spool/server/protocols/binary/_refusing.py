"""Refusing a request of which only the beginning is known, because its client may not stay."""

from __future__ import annotations

from ....mcbp import HEADER, Opcode, Status, encode_response
from ._features import Features


def refuse_request(beginning: bytes, why: str, features: Features | None = None) -> bytes | None:
    """Return the reply to a request.

    The status is *temporary failure*, as for all limits: a client may try again later. BUSY would have Couchbase's SDKs try again
    at once, and in a loop.

    Couchbase's SDKs begin with HELLO, whose key is then a JSON object. They take an error there for final, and a connection that is
    closed for a reason to try again, after a while, until their own time is over (seen with 4.6.3). So they are not answered.

    Args:
        beginning: The first bytes of the request.
        why: What the client is told.
        features: What HELLO has granted; None if this is the first request.

    Returns:
        The reply; nothing if the client is better off without; None if too little of the request is there.
    """
    if len(beginning) < HEADER.size:
        return None
    _, opcode, key_length, _, _, _, _, opaque, _ = HEADER.unpack_from(beginning)
    if opcode == Opcode.HELLO and key_length:
        if len(beginning) == HEADER.size:
            return None
        if beginning[HEADER.size] == ord("{"):
            return b""
    if features is not None and not features.classic:
        return features.error(opcode, opaque, Status.TEMPORARY_FAILURE, why)
    return encode_response(opcode, Status.TEMPORARY_FAILURE, opaque, value=why.encode())
