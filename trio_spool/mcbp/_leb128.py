"""LEB128 as peers send it, before keys and in scans: a number that can't be decoded is the peer's error."""

from __future__ import annotations

from .._formats import MAX_LEB128_BYTES as MAX_LEB128_BYTES
from .._formats import decode_leb128 as _decode
from .._formats import encode_leb128 as _encode
from ._errors import LocalProtocolError, RemoteProtocolError
from ._status import Status


def encode_leb128(number: int) -> bytes:
    """Encode a number from 0 to 2**32 - 1.

    Raises:
        LocalProtocolError: The number is out of this range.
    """
    try:
        return _encode(number)
    except ValueError as exc:
        raise LocalProtocolError(str(exc)) from None


def decode_leb128(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Decode the number at an offset.

    Returns:
        The number, and the offset of the byte after it.

    Raises:
        RemoteProtocolError: The data ends in the middle of the number, or the number does not fit in 32 bits.
    """
    try:
        return _decode(data, offset)
    except ValueError as exc:
        raise RemoteProtocolError(str(exc), status_hint=Status.INVALID) from None


def split_collection(key: bytes) -> tuple[int, bytes]:
    """Split a key, as it is sent when collections are enabled, into its collection id and the key itself.

    Raises:
        RemoteProtocolError: The collection id is malformed.
    """
    collection, offset = decode_leb128(key)
    return collection, key[offset:]
