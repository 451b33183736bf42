"""SASLprep (RFC 4013): names and passwords that look the same become the same bytes."""

from __future__ import annotations

import stringprep
from collections.abc import Callable
from typing import Final
from unicodedata import ucd_3_2_0

# The most characters of a text that is not ASCII. Normalization takes time in proportion to the square of their number, in one
# call that keeps the interpreter from everybody else, and anybody may send a name or a password: 1,024 combining characters take
# 1 ms, 4,096 take 99. Measured with ``ucd_3_2_0.normalize("NFKC", "a" + "\u0315\u0300\u05ae" * n)``.
MAX_LENGTH: Final = 1024

# The tables of RFC 4013, section 2.3, and their contents. No message names the character, since the text may be a password.
_PROHIBITED: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
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
# What is known of a character: bits, and the number of the first table above that has it, from 1.
_NUMBER: Final = 15
_REMOVED: Final = 16
_RIGHT_TO_LEFT: Final = 32
_LEFT_TO_RIGHT: Final = 64
_UNASSIGNED: Final = 128
_SPACE: Final = 1
# By code point, plus 1; 0 if nobody has asked yet. To look into all tables takes 4 µs, or 4 ms for a text of different characters,
# and anybody could ask for that again and again.
_known: Final = bytearray(0x110000)


def _facts(char: str) -> int:
    point = ord(char)
    if not _known[point]:
        number = next((number for number, (in_table, _) in enumerate(_PROHIBITED, 1) if in_table(char)), 0)
        bits = (
            (_REMOVED, stringprep.in_table_b1),
            (_RIGHT_TO_LEFT, stringprep.in_table_d1),
            (_LEFT_TO_RIGHT, stringprep.in_table_d2),
        )
        facts = number + sum(bit for bit, in_table in bits if in_table(char))
        _known[point] = 1 + (facts or _UNASSIGNED * stringprep.in_table_a1(char))  # no other table has what is unassigned
    return _known[point] - 1


def saslprep(text: str, allow_unassigned: bool = False) -> str:
    """Prepare a user name or a password.

    Args:
        text: The name or password, as it was typed.
        allow_unassigned: Whether to accept characters that Unicode 3.2 did not have. RFC 4013 allows this for a query, but not for
            text that is stored.

    Returns:
        The prepared text, which may be empty.

    Raises:
        ValueError: The text has prohibited characters, mixes directions, or is not ASCII and has more than `MAX_LENGTH` characters.
    """
    if text.isascii():
        if not text.isprintable():
            raise ValueError("control characters are not allowed")
        return text
    if len(text) > MAX_LENGTH:
        raise ValueError(f"more than {MAX_LENGTH} characters, of which some are not ASCII, are not allowed")
    # U+200B is in both tables, and RFC 4013 doesn't say which one comes first. It is removed, since it is a space of zero width.
    mapped = "".join(" " if _facts(char) & _NUMBER == _SPACE else char for char in text if not _facts(char) & _REMOVED)
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    found = 0
    for char in dict.fromkeys(prepared):  # looks at each character once, however long the text is
        facts = _facts(char)
        if number := facts & _NUMBER:
            raise ValueError(f"{_PROHIBITED[number - 1][1]} are not allowed")
        found |= facts
    if found & _UNASSIGNED and not allow_unassigned:
        raise ValueError("characters that Unicode 3.2 does not have, such as most emoji, are not allowed")
    if found & _RIGHT_TO_LEFT:
        _check_bidirectional(prepared, found)
    return prepared


def _check_bidirectional(text: str, found: int) -> None:
    if found & _LEFT_TO_RIGHT:
        raise ValueError("right-to-left text can't be mixed with left-to-right text")
    if not _facts(text[0]) & _facts(text[-1]) & _RIGHT_TO_LEFT:
        raise ValueError("right-to-left text must begin and end with a right-to-left character")
