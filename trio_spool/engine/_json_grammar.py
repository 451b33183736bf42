"""The grammar of JSON as regular expressions for bytes, made so that one call takes in as much of a document as its piece holds.

No library for JSON lets other threads run while it reads a document, or tells where values stand. Regular expressions are applied
to a piece at a time, so others get their turn between two pieces.

Values that are nested up to `LEVELS` are written out in the patterns: expressions can't recurse. What is nested deeper, or longer
than a piece, is taken apart in Python.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Final

# The maximum number of containers inside one another, for storing, reading and detecting JSON. The standard library's decoder has a
# limit that differs between versions of Python and from thread to thread; this one is far below all of them. Picked, not measured.
MAX_NESTING: Final = 512
# Bytes that one call looks at. Measured on two cores: 32 KiB take up to 1.1 ms on Python 3.13, and 11 ms on 3.10, where patterns
# keep every point to which they could go back.
PIECE: Final = 32 * 1024
# Compiling all patterns takes 0.04 s of processor time for two levels, 0.1 s for three and 0.22 s for four. With three, an array of
# `[[[[]]]]` takes 8 times as long as `json.loads` of it; with four, one of `[[[[[]]]]]` takes 6 times as long.
LEVELS: Final = 4
# How many items one pattern skips when items are counted. Each size is tried until it does not fit into a piece.
_COUNTS: Final = (4096, 512, 64, 8, 1)

# Possessive quantifiers never go back into what they have matched. Before 3.11.5, they were wrong around alternatives
# (https://github.com/python/cpython/issues/106052), so the patterns must mean the same without them.
_ONCE: Final = b"+" if sys.version_info >= (3, 11, 5) else b""

_BLANKS: Final = rb"[ \t\n\r]*" + _ONCE
_PLAIN_STRING: Final = rb'"[^"\\\x00-\x1f]*' + _ONCE + rb'"'
_INSIDE: Final = rb'[^"\\\x00-\x1f]*' + _ONCE
_ESCAPE: Final = rb'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})'
_STRING: Final = rb'"' + _INSIDE + rb"(?:" + _ESCAPE + _INSIDE + rb")*" + _ONCE + rb'"'
_DIGITS: Final = rb"[0-9]+" + _ONCE
_WHOLE: Final = rb"-?(?:0|[1-9][0-9]*" + _ONCE + b")"
_NUMBER: Final = _WHOLE + rb"(?:\." + _DIGITS + rb")?" + _ONCE + rb"(?:[eE][+-]?" + _DIGITS + rb")?" + _ONCE
_SCALAR: Final = _NUMBER + b"|" + _STRING + rb"|true|false|null"


def _value(levels: int) -> bytes:
    if not levels:
        return b"(?:" + _SCALAR + b")"
    inside = _value(levels - 1)
    return b"(?:%b|%b|%b)" % (_SCALAR, _container(rb"\[", inside, rb"\]"), _container(rb"\{", _member(inside), rb"\}"))


def _member(value: bytes, key: bytes = _STRING) -> bytes:
    return key + _BLANKS + b":" + _BLANKS + value


def _container(opening: bytes, item: bytes, closing: bytes) -> bytes:
    # An item is written once, since it is long: it has all that is nested in it. A comma and another item follow it, or the end.
    more = b"(?:,%b(?!%b)|(?=%b))" % (_BLANKS, closing, closing)
    return opening + _BLANKS + b"(?:" + item + _BLANKS + more + b")*" + _ONCE + closing


def _items(item: bytes, count: bytes) -> bytes:
    """Match items that are followed by a comma."""
    return b"(?:" + _BLANKS + item + _BLANKS + b",)" + count


def _run(item: bytes, closing: bytes) -> bytes:
    """Match as many items with a comma as there are, and the last one with the end of the container if it comes next."""
    last = b"(?:" + _BLANKS + item + _BLANKS + closing + b")?" + _ONCE
    return _items(item, b"*" + _ONCE) + last


class Grammar:
    """The patterns. Each is compiled when it is first used, which takes up to 50 ms: see `compile_all_in_thread`."""

    blanks = re.compile(_BLANKS)
    digits = re.compile(rb"[0-9]*" + _ONCE)
    inside_string = re.compile(_INSIDE + b"(?:" + _ESCAPE + _INSIDE + b")*" + _ONCE)
    # Everything up to the next string with an escape in it that may be a key. It is for text that was checked.
    no_escaped_key = re.compile(
        rb'(?:[^"]+%b|"[^"\\]*%b"|"[^"\\]*%b(?:\\.[^"\\]*%b)*%b"(?=[ \t\n\r]*%b[^ \t\n\r:]))*%b' % ((_ONCE,) * 7), re.DOTALL
    )
    openings = re.compile(rb"\[+")
    closings = re.compile(rb"[\]}]*")

    @cached_property
    def value(self) -> re.Pattern[bytes]:
        """A value that is nested up to `LEVELS`."""
        return re.compile(_value(LEVELS))

    @cached_property
    def elements(self) -> re.Pattern[bytes]:
        """Elements with a comma, and perhaps the last one and the bracket."""
        return re.compile(_run(_value(LEVELS), rb"\]"))

    @cached_property
    def members(self) -> re.Pattern[bytes]:
        """Members with a comma, and perhaps the last one and the bracket."""
        return re.compile(_run(_member(_value(LEVELS)), rb"\}"))

    @cached_property
    def flat_elements(self) -> re.Pattern[bytes]:
        """As `elements`, but none is a container."""
        return re.compile(_run(_value(0), rb"\]"))

    @cached_property
    def flat_members(self) -> re.Pattern[bytes]:
        """As `members`, but none has a container."""
        return re.compile(_run(_member(_value(0)), rb"\}"))

    @cached_property
    def some_elements(self) -> re.Pattern[bytes]:
        """Elements with a comma."""
        return re.compile(_items(_value(LEVELS), b"*" + _ONCE))

    @cached_property
    def some_members(self) -> re.Pattern[bytes]:
        """Members with a comma."""
        return re.compile(_items(_member(_value(LEVELS)), b"*" + _ONCE))

    @cached_property
    def counted_elements(self) -> tuple[tuple[int, re.Pattern[bytes]], ...]:
        """Some elements with a comma, the largest number first."""
        return tuple((count, re.compile(_items(_value(LEVELS), b"{%d}" % count))) for count in _COUNTS)

    @cached_property
    def counted_members(self) -> tuple[tuple[int, re.Pattern[bytes]], ...]:
        """Some members with a comma, the largest number first."""
        return tuple((count, re.compile(_items(_member(_value(LEVELS)), b"{%d}" % count))) for count in _COUNTS)


GRAMMAR: Final = Grammar()


def _spelled(key: str) -> bytes:
    """Match a string in all the ways in which JSON may write it."""
    return b'"%b"' % b"".join(map(_spelled_character, key))


def _spelled_character(character: str) -> bytes:
    units = character.encode("utf-16-be")
    escaped = b"".join(rb"\\u(?i:%04x)" % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    usual = json.dumps(character, ensure_ascii=False)[1:-1].encode()
    ways = {re.escape(usual), escaped} | ({rb"\\/"} if character == "/" else set())
    return b"(?:%b)" % b"|".join(sorted(ways))


def spelled_key(key: str) -> re.Pattern[bytes]:
    """Return a pattern for a key, however it is written."""
    return re.compile(_spelled(key))


def members_without(key: str) -> re.Pattern[bytes]:
    """Return a pattern for members with a comma that have another key. It takes some ten milliseconds to make."""
    other = b"(?!%b%b:)" % (_spelled(key), _BLANKS)
    return re.compile(_items(other + _member(_value(LEVELS)), b"*" + _ONCE))


def compile_all_in_thread(between: Callable[[], object] = lambda: None) -> None:
    """Compile all patterns, so that nobody has to wait for that. Takes some tenths of a second, and lets other threads run.

    Args:
        between: Called before each of them. What it raises ends this.
    """
    for name, member in vars(Grammar).items():
        if isinstance(member, cached_property):
            between()
            getattr(GRAMMAR, name)
