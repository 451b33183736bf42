"""SASLprep (RFC 4013): names and passwords that look the same become the same bytes."""

from __future__ import annotations

import stringprep
from collections.abc import Callable
from unicodedata import ucd_3_2_0

# RFC 4013, section 2.3, and what each table holds. No message names the character: the text may be a password.
_PROHIBITED: tuple[tuple[Callable[[str], bool], str], ...] = (
    (stringprep.in_table_c12, "spaces other than the ASCII one"),
    (stringprep.in_table_c21_c22, "control characters"),
    (stringprep.in_table_c3, "private use characters"),
    (stringprep.in_table_c4, "code points that are no characters"),
    (stringprep.in_table_c5, "surrogates"),
    (stringprep.in_table_c6, "characters that are not for plain text"),
    (stringprep.in_table_c7, "characters that describe others"),
    (stringprep.in_table_c8, "characters that change how text is displayed"),
    (stringprep.in_table_c9, "tagging characters"),
)


def saslprep(text: str, allow_unassigned: bool = False) -> str:
    """Prepare a user name or a password.

    Args:
        text: As it was typed.
        allow_unassigned: Let characters pass that Unicode 3.2 did not have, as for a query; what is stored must have none.

    Returns:
        What stands for it; it may be empty.

    Raises:
        ValueError: The text holds what is prohibited, or mixes directions.
    """
    if text.isascii():
        if not text.isprintable():
            raise ValueError("control characters are not allowed")
        return text
    # U+200B is in both tables, and RFC 4013 doesn't say which is first. It goes, as its name (zero width) has it.
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    chars = dict.fromkeys(prepared)  # each is looked up once, however long the text is
    for in_table, what in _PROHIBITED:
        if any(map(in_table, chars)):
            raise ValueError(f"{what} are not allowed")
    if not allow_unassigned and any(map(stringprep.in_table_a1, chars)):
        raise ValueError("characters that Unicode 3.2 does not have (most emoji are such) are not allowed")
    if any(map(stringprep.in_table_d1, chars)):
        _check_bidirectional(prepared)
    return prepared


def _check_bidirectional(text: str) -> None:
    if any(map(stringprep.in_table_d2, text)):
        raise ValueError("text that runs from right to left can't be mixed with text that runs from left to right")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("text that runs from right to left must begin and end with a character that does")
