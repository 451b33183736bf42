"""The flags of meta commands: one character each, some followed by a token.

==== ================================ =====================================================================
flag token                            commands, and what it asks for
==== ================================ =====================================================================
b                                     all: the key is in base64
c                                     mg ms ma: return the CAS
C    CAS u64                          mg: leave out the value if this is its CAS; ms md ma: only if it is
D    delta u64                        ma: what is added or subtracted, instead of 1
E    CAS u64                          mg ms md ma: the CAS of what is stored
f                                     mg: return the client's flags
F    flags u32                        ms: the client's flags
h                                     mg: return whether the item was hit before
I                                     ms: accept a CAS that is too low, and mark the item as stale; md: mark it
J    number u64                       ma: the number that a new item has
k                                     all: return the key
l                                     mg: return the seconds since the last access
M    one letter                       ms ma: the mode
N    seconds i32                      mg ma, and ms when it appends: create a missing item, with this TTL
O    31 bytes                         all: return the token
q                                     all: leave out the reply that is expected
R    seconds i32                      mg: win if the item has less left to live
s                                     mg ms: return the size of the value
t                                     mg ma: return the seconds that the item has left, or -1
T    seconds i32                      mg ma: set the TTL; ms: the TTL; md: the TTL of an item that is marked
u                                     mg: this is no access
v                                     mg ma: return the value
x                                     md: remove the value, and leave the item
==== ================================ =====================================================================

``P`` and ``L`` are accepted, and mean something to proxies. A flag that means nothing to a command is accepted as well.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from functools import lru_cache
from typing import Final

import attrs

from ._errors import RemoteProtocolError
from ._numbers import parse_expiry, parse_flags, parse_signed, parse_unsigned

# The bytes of an opaque flag, its letter included, and the number of tokens of a line: memcached's limits.
MAX_OPAQUE: Final = 32
MAX_TOKENS: Final = 19
_KNOWN: Final = frozenset(b"bcCDEfFhIJklLMNOPqRstTuvx")
_BAD_TOKEN: Final = "CLIENT_ERROR bad token in command line format"


@attrs.frozen
class MetaFlags:
    """The flags of one request.

    Attributes:
        letters: The letters that ask for something to be returned, in order.
        base64: Whether the key was in base64.
        quiet: Whether the expected reply is left out.
        value: Whether the value is to be returned.
        bump: Whether the request counts as an access.
        stale: Whether the flag I is there.
        drop_value: Whether the flag x is there.
        cas: The CAS to compare with, or None.
        new_cas: The CAS of what is stored, or None.
        flags: The client's flags.
        ttl: The TTL to set, or None.
        create_ttl: The TTL of what is created, or None if nothing is.
        recache: The TTL below which a client wins, or None.
        mode: The letter of the mode; empty for none.
        delta: What is added or subtracted.
        initial: The number that a new item has.
    """

    letters: bytes = b""
    base64: bool = False
    quiet: bool = False
    value: bool = False
    bump: bool = True
    stale: bool = False
    drop_value: bool = False
    cas: int | None = None
    new_cas: int | None = None
    flags: int = 0
    ttl: int | None = None
    create_ttl: int | None = None
    recache: int | None = None
    mode: bytes = b""
    delta: int = 1
    initial: int = 0


# What a reply may return, for any command. The opaque and the key come back from each.
_RETURNED: Final = frozenset(b"cfhklOst")


# As many different sets of flags as a client has commands, several times over. The opaque, which is another one each time, is left
# out before; flags with other tokens that change, like a CAS, push each other out, and are parsed each time.
@lru_cache(256)
def _parse(rest: bytes) -> MetaFlags:
    values: dict[str, object] = {}
    letters = bytearray()
    seen: set[int] = set()
    problem = ""
    for token in rest.split(b" ") if rest else ():
        letter = token[0]
        if letter >= 127 or letter in seen:
            raise RemoteProtocolError("CLIENT_ERROR duplicate flag")
        if letter not in _KNOWN:
            raise RemoteProtocolError("CLIENT_ERROR invalid flag")
        seen.add(letter)
        if letter in _RETURNED:
            letters.append(letter)
        problem = _parse_flag(token, values) or problem
    if problem:
        raise RemoteProtocolError(problem)
    return MetaFlags(letters=bytes(letters), **values)  # type: ignore[arg-type]


_SWITCHES: Final = {
    ord("b"): ("base64", True), ord("q"): ("quiet", True), ord("v"): ("value", True), ord("u"): ("bump", False),
    ord("I"): ("stale", True), ord("x"): ("drop_value", True),
}  # fmt: skip
# Letter: the attribute, what parses the token, and the line for a token that is no such number.
_NUMBERS: Final = {
    ord("C"): ("cas", parse_unsigned, _BAD_TOKEN),
    ord("E"): ("new_cas", parse_unsigned, _BAD_TOKEN),
    ord("F"): ("flags", parse_flags, "CLIENT_ERROR bad command line format"),
    ord("T"): ("ttl", parse_expiry, _BAD_TOKEN),
    ord("N"): ("create_ttl", parse_expiry, _BAD_TOKEN),
    ord("R"): ("recache", parse_signed, _BAD_TOKEN),
    ord("D"): ("delta", parse_unsigned, "CLIENT_ERROR invalid numeric delta value"),
    ord("J"): ("initial", parse_unsigned, "CLIENT_ERROR invalid numeric initial value"),
}


def _parse_flag(token: bytes, values: dict[str, object]) -> str:
    """Put what a flag says into `values`, and return what is wrong with it, or nothing."""
    letter = token[0]
    if letter in _SWITCHES:
        name, switch = _SWITCHES[letter]
        values[name] = switch
    elif letter in _NUMBERS:
        name, parse, problem = _NUMBERS[letter]
        number = parse(token[1:])
        if number is None:
            return problem
        values[name] = number
    elif letter == ord("M"):
        if len(token) != 2:
            return "CLIENT_ERROR incorrect length for M token"
        values["mode"] = token[1:]
    return ""


def parse_flags_of(text: bytes) -> tuple[MetaFlags, bytes]:
    """Parse the flags of a request.

    Args:
        text: The flags, with any number of blanks before, between and behind them.

    Returns:
        The flags; and the opaque flag, its letter included, which is empty if there is none.

    Raises:
        RemoteProtocolError: They are no flags.
    """
    if b"  " in text or text.endswith(b" ") or text.startswith(b" "):
        text = b" ".join(filter(None, text.split(b" ")))
    start = 0 if text.startswith(b"O") else text.find(b" O") + 1
    if not start and not text.startswith(b"O"):
        return _parse(text), b""
    end = text.find(b" ", start)
    opaque = text[start:] if end < 0 else text[start:end]
    flags = _parse(text[: start + 1] + text[start + len(opaque) :])
    if len(opaque) > MAX_OPAQUE:
        raise RemoteProtocolError("CLIENT_ERROR opaque token too long")
    return flags, opaque


def decode_key(key: bytes) -> bytes:
    """Return a key that was in base64.

    Raises:
        RemoteProtocolError: It was not, or is empty.
    """
    try:
        # Some versions of Python accept further padding.
        decoded = b64decode(key, validate=True) if len(key) % 4 == 0 else b""
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise RemoteProtocolError("CLIENT_ERROR error decoding key")
    return decoded
