"""The layout of frames, and their encoding.

Every frame begins with 24 bytes, big-endian::

    byte   0        magic
           1        opcode
           2-3      key length      (flexible frames: byte 2 framing extras length, byte 3 key length)
           4        extras length
           5        datatype
           6-7      vbucket of a request, status of a response
           8-11     body length: framing extras + extras + key + value, in this order
           12-15    opaque: a number of the client's choice, which the response repeats
           16-23    CAS
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ._errors import LocalProtocolError
from ._framing import FrameInfo
from ._opcodes import Magic

HEADER = struct.Struct(">BBHBBHLLQ")
_RESPONSE = int(Magic.RESPONSE)
# The response to a get that found an item, without its key and value. Its fields: the first 8 bytes of the header, which are
# `GET_HIT_START` for a GET, with the datatype added at `DATATYPE_SHIFT`; the body length; the opaque; the CAS; and the flags of the
# item, which are the extras.
GET_HIT = struct.Struct(">QLLQL")
GET_HIT_START = int(Magic.RESPONSE) << 56 | 4 << 24
DATATYPE_SHIFT = 16

# In bytes. The maximum length of a key is memcached's; those of a value and of a frame are Couchbase's defaults.
MAX_KEY = 250
MAX_VALUE = 20 * 1024 * 1024
MAX_FRAME = 30 * 1024 * 1024


class Request(NamedTuple):
    """A request that has the shape its opcode requires. `size` is the size of the whole frame, in bytes."""

    opcode: int
    vbucket: int
    datatype: int
    opaque: int
    cas: int
    extras: bytes
    key: bytes
    value: bytes
    size: int
    frame_infos: tuple[FrameInfo, ...] = ()


class Response(NamedTuple):
    """A response, as a client receives it. `size` is the size of the whole frame, in bytes; `framing`, its raw framing extras."""

    opcode: int
    status: int
    datatype: int
    opaque: int
    cas: int
    extras: bytes
    key: bytes
    value: bytes
    size: int
    framing: bytes = b""


def _encode(
    magic: Magic, flexible: Magic, opcode: int, vbucket_or_status: int, opaque: int,
    key: bytes, extras: bytes, value: bytes, cas: int, datatype: int, framing: bytes,
) -> bytes:  # fmt: skip
    key_length = len(key)
    if framing:
        if key_length > 0xFF or len(framing) > 0xFF:
            raise LocalProtocolError(
                f"a frame with framing extras has room for 255 bytes of each: got {len(framing)}, and a key of {key_length}"
            )
        magic, key_length = flexible, len(framing) << 8 | key_length
    body = len(framing) + len(extras) + len(key) + len(value)
    try:
        header = HEADER.pack(
            magic, opcode, key_length, len(extras), datatype, vbucket_or_status, body, opaque, cas
        )  # fmt: skip
    except struct.error as exc:
        raise LocalProtocolError(f"a field of the frame is out of range: {exc}") from exc
    return b"".join((header, framing, extras, key, value))


def encode_request(
    opcode: int,
    *,
    key: bytes = b"",
    extras: bytes = b"",
    value: bytes = b"",
    vbucket: int = 0,
    datatype: int = 0,
    opaque: int = 0,
    cas: int = 0,
    framing: bytes = b"",
) -> bytes:
    """Encode a request.

    Raises:
        LocalProtocolError: A field does not fit the header.
    """
    return _encode(Magic.REQUEST, Magic.FLEXIBLE_REQUEST, opcode, vbucket, opaque, key, extras, value, cas, datatype, framing)


def encode_response(
    opcode: int,
    status: int,
    opaque: int,
    *,
    key: bytes = b"",
    extras: bytes = b"",
    value: bytes = b"",
    cas: int = 0,
    datatype: int = 0,
    framing: bytes = b"",
) -> bytes:
    """Encode a response.

    Raises:
        LocalProtocolError: A field does not fit the header.
    """
    return _encode(Magic.RESPONSE, Magic.FLEXIBLE_RESPONSE, opcode, status, opaque, key, extras, value, cas, datatype, framing)


def with_framing(frame: bytes, framing: bytes) -> bytes:
    """Add framing extras to an encoded response that has none. A response whose key is too long for that is returned unchanged.

    Args:
        frame: The response.
        framing: The framing extras, at most 255 bytes.
    """
    if frame[2]:
        return frame
    body = int.from_bytes(frame[8:12], "big") + len(framing)
    return b"".join(
        (
            bytes((Magic.FLEXIBLE_RESPONSE, frame[1], len(framing))),
            frame[3:8],
            body.to_bytes(4, "big"),
            frame[12:24],
            framing,
            frame[24:],
        )
    )


def encode_done(opcode: int, opaque: int, cas: int, extras: bytes = b"") -> bytes:
    """Encode the response to a successful change: `encode_response` in a single pack, for the hot path."""
    size = len(extras)
    return HEADER.pack(Magic.RESPONSE, opcode, 0, size, 0, 0, size, opaque, cas) + extras


def encode_get_hit(opcode: int, opaque: int, cas: int, flags: int, value: bytes, key: bytes = b"", datatype: int = 0) -> bytes:
    """Encode the response to a get that found an item: `encode_response` in a single pack, for the hot path."""
    start = GET_HIT_START | opcode << 48 | len(key) << 32 | datatype << DATATYPE_SHIFT
    return GET_HIT.pack(start, 4 + len(key) + len(value), opaque, cas, flags) + key + value
