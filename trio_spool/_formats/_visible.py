"""Text that somebody else wrote, made fit to be shown: in a message, in a log, and on a terminal."""

from __future__ import annotations

import re
from typing import Final

# What a terminal would obey instead of showing it: control characters, also those above 127, with which escape sequences begin;
# the separators of lines and paragraphs; and the characters that change the direction of the text around them (CVE-2021-42574).
# Surrogates can't be printed at all.
_RANGES: Final = (
    (0x00, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF),
)  # fmt: skip
_UNSAFE: Final = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _RANGES) + "]")
_NUMBERS: Final = [number for first, last in _RANGES for number in range(first, last + 1)]
_ESCAPES: Final = {number: f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" for number in _NUMBERS}
_ESCAPES_IN_JSON: Final = {number: f"\\u{number:04x}" for number in _NUMBERS}


def visible(text: str | bytes, limit: int | None = None) -> str:
    """Return text on one line, with escapes in place of everything that a terminal would not simply show.

    Backslashes are not escaped, so this can't be reversed.

    Args:
        text: The text. Bytes that are not UTF-8 are escaped.
        limit: The maximum number of characters, or of bytes, to show. Longer text is cut, and ends with an ellipsis.
    """
    cut = limit is not None and len(text) > limit
    if cut:
        text = text[:limit]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if not is_visible(text):
        text = text.translate(_ESCAPES)
    return text + "…" if cut else text


def escape_in_json(text: str) -> str:
    """Return JSON text in which every character that a terminal would obey is an escape of JSON. Its meaning stays the same.

    Args:
        text: JSON without line breaks outside of strings.
    """
    return text if is_visible(text) else text.translate(_ESCAPES_IN_JSON)


def is_visible(text: str) -> bool:
    """Return whether `visible` would leave the text as it is."""
    return text.isprintable() or _UNSAFE.search(text) is None  # almost all text is printable, which is found out sooner
