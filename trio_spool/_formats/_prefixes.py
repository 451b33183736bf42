"""Ranges of keys."""

from __future__ import annotations


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key after all keys with a prefix, or None if there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
