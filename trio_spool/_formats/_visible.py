"""Text that somebody else wrote, made fit to be shown: in a message, in a log, and on a terminal."""

from __future__ import annotations

import re
from typing import Final

# What a terminal would obey instead of showing it: control characters, also those above 127, with which escape sequences begin;
# the separators of lines and paragraphs; and the characters that change the direction of the text around them (CVE-2021-42574).
# Surrogates can't be printed at all.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


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
    if not text.isprintable():  # almost all text is, and this costs a tenth of the search
        text = _UNSAFE.sub(_escaped, text)
    return text + "…" if cut else text


def escape_in_json(text: str) -> str:
    """Return JSON text in which every character that a terminal would obey is an escape of JSON. Its meaning stays the same.

    Args:
        text: JSON without line breaks outside of strings.
    """
    return text if text.isprintable() else _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_visible(text: str) -> bool:
    """Return whether `visible` would leave the text as it is."""
    return text.isprintable() or _UNSAFE.search(text) is None


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
