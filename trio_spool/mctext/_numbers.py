"""Numbers in lines: decimal digits, perhaps with a sign. What memcached refuses is refused here."""

from __future__ import annotations

import re
from typing import Final

_MAX_INT32: Final = (1 << 31) - 1
_MIN_INT32: Final = -(1 << 31)
_TWO_32: Final = 1 << 32
_TWO_64: Final = 1 << 64
# What is more than 30 days is a Unix time: memcached's limit.
_LONGEST_RELATIVE: Final = 30 * 24 * 60 * 60
# Digits that need no further look: the number fits whatever it is meant for.
_SAFE_DIGITS: Final = 9
# A token holds no blanks, but other white space may stand around a number, as strtol has it.
_NUMBER: Final = re.compile(rb"[\t\v\f\r]*([+-]?[0-9]+)(?:[\t\v\f\r].*)?", re.DOTALL)


def parse_signed(token: bytes) -> int | None:
    """Return a signed number of 32 bits, or None if the token is none."""
    if len(token) <= _SAFE_DIGITS and token.isdigit():
        return int(token)
    number = _number(token)
    return number if number is not None and _MIN_INT32 <= number <= _MAX_INT32 else None


def parse_expiry(token: bytes) -> int | None:
    """Return an expiry, or None if the token is none. One that is later than clients can know is the latest that there is.

    The last 30 days of 32 bits are negative numbers that a client has written without their sign: pylibmc writes -1 so.
    """
    if len(token) <= _SAFE_DIGITS and token.isdigit():
        return int(token)
    number = _number(token)
    if number is None:
        return None
    if _TWO_32 - _LONGEST_RELATIVE <= number < _TWO_32:
        return number - _TWO_32
    return max(min(number, _TWO_32 - 1), _MIN_INT32)


def parse_flags(token: bytes) -> int | None:
    """Return an unsigned number of 32 bits, or None if the token is none."""
    return _unsigned(token, _TWO_32)


def parse_unsigned(token: bytes) -> int | None:
    """Return an unsigned number of 64 bits, or None if the token is none."""
    return _unsigned(token, _TWO_64)


def _unsigned(token: bytes, bound: int) -> int | None:
    if len(token) <= _SAFE_DIGITS and token.isdigit():
        return int(token)
    number = _number(token)
    return number if number is not None and 0 <= number < bound else None


def _number(token: bytes) -> int | None:
    match = _NUMBER.fullmatch(token)
    # More digits than the largest number has would take a long time to convert.
    return int(match[1]) if match is not None and len(match[1].lstrip(b"+-0")) <= 20 else None
