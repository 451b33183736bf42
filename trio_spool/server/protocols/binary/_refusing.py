"""Refusing a request of which only the beginning is known, because its client may not stay."""

from __future__ import annotations

from ....mcbp import HEADER, Status, encode_response


def refuse_request(beginning: bytes, why: str) -> bytes | None:
    """Return the reply to a request, in the form that every client understands.

    The status is *temporary failure*, as for all limits: a client may try again later. BUSY would have Couchbase's SDKs try again
    at once, and in a loop.

    Args:
        beginning: The first bytes of the request.
        why: The text of the reply.

    Returns:
        The reply; None if it can't be made, since the header is not complete.
    """
    if len(beginning) < HEADER.size:
        return None
    _, opcode, _, _, _, _, _, opaque, _ = HEADER.unpack_from(beginning)
    return encode_response(opcode, Status.TEMPORARY_FAILURE, opaque, value=why.encode())
