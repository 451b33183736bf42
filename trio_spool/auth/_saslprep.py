"""SASLprep (RFC 4013): names and passwords that look the same become the same bytes."""

from __future__ import annotations

import stringprep
from collections.abc import Callable
from unicodedata import ucd_3_2_0

# The tables of RFC 4013, section 2.3, and their contents. No message names the character, since the text may be a password.
_PROHIBITED: tuple[tuple[Callable[[str], bool], str], ...] = (
    (stringprep.in_table_c12, "spaces other than the ASCII one"),
    (stringprep.in_table_c21_c22, "control characters"),
    (stringprep.in_table_c3, "private use characters"),
    (stringprep.in_table_c4, "code points that are not characters"),
    (stringprep.in_table_c5, "surrogates"),
    (stringprep.in_table_c6, "characters that don't belong in plain text"),
    (stringprep.in_table_c7, "characters that describe other characters"),
    (stringprep.in_table_c8, "characters that change how text is displayed"),
    (stringprep.in_table_c9, "tagging characters"),
)


def saslprep(text: str, allow_unassigned: bool = False) -> str:
    """Prepare a user name or a password.

    Args:
        text: The name or password, as it was typed.
        allow_unassigned: Whether to accept characters that Unicode 3.2 did not have. RFC 4013 allows this for a query, but not for
            text that is stored.

    Returns:
        The prepared text, which may be empty.

    Raises:
        ValueError: The text has prohibited characters, or mixes directions.
    """
    if text.isascii():
        if not text.isprintable():
            raise ValueError("control characters are not allowed")
        return text
    # U+200B is in both tables, and RFC 4013 doesn't say which one comes first. It is removed, since it is a space of zero width.
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    chars = dict.fromkeys(prepared)  # looks up each character once, however long the text is
    for in_table, what in _PROHIBITED:
        if any(map(in_table, chars)):
            raise ValueError(f"{what} are not allowed")
    if not allow_unassigned and any(map(stringprep.in_table_a1, chars)):
        raise ValueError("characters that Unicode 3.2 does not have, such as most emoji, are not allowed")
    if any(map(stringprep.in_table_d1, chars)):
        _check_bidirectional(prepared)
    return prepared


def _check_bidirectional(text: str) -> None:
    if any(map(stringprep.in_table_d2, text)):
        raise ValueError("right-to-left text can't be mixed with left-to-right text")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("right-to-left text must begin and end with a right-to-left character")
