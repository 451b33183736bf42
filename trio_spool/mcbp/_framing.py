"""Framing extras: small typed parameters between the header and the extras of a flexible frame.

Each begins with a byte that has its id in the high four bits and its length in the low four. The value 15 in
either means that the next byte is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from ._errors import RemoteProtocolError
from ._status import Status


class FrameInfoId(IntEnum):
    """The ids of the frame infos of requests."""

    BARRIER = 0
    DURABILITY = 1
    PRESERVE_TTL = 5


SERVER_DURATION = 0  # the id of the only frame info of responses
_ESCAPE = 15
# The longest duration that fits in the 16 bits of Couchbase's encoding, in microseconds: 65,535 ** 1.74 / 2.
_LONGEST_DURATION_US = 120_125_042

_REQUEST_LENGTHS: dict[int, frozenset[int]] = {
    FrameInfoId.BARRIER: frozenset({0}),
    FrameInfoId.DURABILITY: frozenset({1, 3}),
    FrameInfoId.PRESERVE_TTL: frozenset({0}),
}


class FrameInfo(NamedTuple):
    """A frame info."""

    id: int
    value: bytes


def parse_frame_infos(data: bytes) -> tuple[FrameInfo, ...]:
    """Parse the framing extras of a request.

    Raises:
        RemoteProtocolError: A frame info is cut off or has the wrong length (`status_hint` is INVALID), or has an
            unknown id (UNKNOWN_FRAME_INFO).
    """
    infos = []
    offset = 0
    while offset < len(data):
        kind, size = data[offset] >> 4, data[offset] & 0x0F
        offset += 1
        if kind == _ESCAPE:
            kind, offset = _ESCAPE + _byte_at(data, offset), offset + 1
        if size == _ESCAPE:
            size, offset = _ESCAPE + _byte_at(data, offset), offset + 1
        value = data[offset : offset + size]
        offset += size
        if len(value) < size:
            raise RemoteProtocolError("a frame info is cut off", status_hint=Status.INVALID)
        lengths = _REQUEST_LENGTHS.get(kind)
        if lengths is None:
            raise RemoteProtocolError(f"unknown frame info {kind}", status_hint=Status.UNKNOWN_FRAME_INFO)
        if size not in lengths:
            raise RemoteProtocolError(f"frame info {kind} can't have {size} bytes", status_hint=Status.INVALID)
        infos.append(FrameInfo(kind, value))
    return tuple(infos)


def _byte_at(data: bytes, offset: int) -> int:
    if offset >= len(data):
        raise RemoteProtocolError("a frame info is cut off", status_hint=Status.INVALID)
    return data[offset]


def encode_frame_infos(infos: Iterable[FrameInfo]) -> bytes:
    """Encode frame infos."""
    out = bytearray()
    for kind, value in infos:
        size = len(value)
        out.append(min(kind, _ESCAPE) << 4 | min(size, _ESCAPE))
        if kind >= _ESCAPE:
            out.append(kind - _ESCAPE)
        if size >= _ESCAPE:
            out.append(size - _ESCAPE)
        out += value
    return bytes(out)


def encode_server_duration(seconds: float) -> bytes:
    """Encode the time from receiving a request to sending its response as framing extras of three bytes.

    Args:
        seconds: The duration; one that is too long for the encoding becomes the longest, about two minutes.
    """
    microseconds = min(max(seconds * 1e6, 0.0), _LONGEST_DURATION_US)
    encoded: int = min(round((microseconds * 2) ** (1 / 1.74)), 0xFFFF)
    return b"\x02" + encoded.to_bytes(2, "big")


def decode_server_duration(framing: bytes) -> float | None:
    """Return the duration in the framing extras of a response, in seconds, or None if there is none."""
    if len(framing) < 3 or framing[0] != SERVER_DURATION << 4 | 2:
        return None
    return float(int.from_bytes(framing[1:3], "big") ** 1.74 / 2 / 1e6)
