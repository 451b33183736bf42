"""Replies, and how they are encoded."""

from __future__ import annotations

from base64 import b64encode
from typing import Final
from urllib.parse import quote_from_bytes

END: Final = b"END\r\n"
STORED: Final = b"STORED\r\n"
NOT_STORED: Final = b"NOT_STORED\r\n"
EXISTS: Final = b"EXISTS\r\n"
NOT_FOUND: Final = b"NOT_FOUND\r\n"
DELETED: Final = b"DELETED\r\n"
TOUCHED: Final = b"TOUCHED\r\n"
OK: Final = b"OK\r\n"
RESET: Final = b"RESET\r\n"
ERROR: Final = b"ERROR\r\n"


def encode_line(*words: bytes) -> bytes:
    """Encode a line."""
    return b" ".join(words) + b"\r\n"


def encode_error(kind: str, text: str) -> bytes:
    """Encode an error: ``CLIENT_ERROR`` or ``SERVER_ERROR``, and a text, which is made to fit in one line."""
    return f"{kind} {' '.join(text.split())}\r\n".encode()


def encode_value(key: bytes, flags: int, value: bytes, cas: int | None = None) -> bytes:
    """Encode an item, in the answer to ``get`` or one of its kind."""
    if cas is None:
        return b"VALUE %b %d %d\r\n%b\r\n" % (key, flags, len(value), value)
    return b"VALUE %b %d %d %d\r\n%b\r\n" % (key, flags, len(value), cas, value)


def encode_key(key: bytes, *, base64: bool) -> bytes:
    """Encode the flag that returns a key, followed by the flag b if it is in base64."""
    return b" k" + b64encode(key) + b" b" if base64 else b" k" + key


def quote_key(key: bytes) -> bytes:
    """Encode a key as in a URI, for lines that are read by programs."""
    return quote_from_bytes(key, safe="").encode()


def is_text(key: bytes) -> bool:
    """Whether a key can stand in a line as it is; otherwise it has to be in base64."""
    return bool(key) and len(key) <= 250 and not any(byte <= 32 or byte == 127 for byte in key)
