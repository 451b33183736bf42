"""Replies that a test wrote beforehand, made the replies to a request."""

from __future__ import annotations

_HEADER = 24


def reply_to(request: bytes, frames: bytes) -> bytes:
    """Return frames with the opaque of a request, which a client expects in them. What is no response stays as it is.

    Args:
        request: The request.
        frames: One frame or several.
    """
    replies = bytearray(frames)
    offset = 0
    while len(replies) - offset >= _HEADER and replies[offset] in (0x81, 0x18):
        replies[offset + 12 : offset + 16] = request[12:16]
        offset += _HEADER + int.from_bytes(replies[offset + 8 : offset + 12], "big")
    return bytes(replies)
