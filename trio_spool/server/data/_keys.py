"""How keys are stored: the id of their collection as LEB128, and then the key as the client knows it."""

from __future__ import annotations

import zlib

from ..._formats import decode_leb128, encode_leb128


def prefix_of(collection: int) -> bytes:
    """Return the prefix of the stored keys of a collection, given its id."""
    return encode_leb128(collection)


def collection_id(key: bytes) -> int:
    """Return the id of the collection of a stored key.

    Raises:
        ValueError: The key has no valid prefix.
    """
    return decode_leb128(key)[0]


def space_of(key: bytes) -> bytes:
    """Return the prefix of a stored key, by which the engine counts what each collection holds."""
    return key[:1] if key[0] < 0x80 else key[: decode_leb128(key)[1]]


def vbucket_of(key: bytes, count: int) -> int:
    """Return the vbucket, of `count`, in which clients look for a key. The key is given without the prefix of its collection."""
    return ((zlib.crc32(key) >> 16) & 0x7FFF) % count
