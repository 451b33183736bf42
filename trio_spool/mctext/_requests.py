"""What a decoder returns, and the lines of commands that carry a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ._errors import RemoteProtocolError
from ._meta import MetaFlags, decode_key, parse_flags_of
from ._numbers import parse_expiry, parse_flags, parse_signed, parse_unsigned

MAX_KEY: Final = 250
NOREPLY: Final = b"noreply"
BAD_LINE: Final = "CLIENT_ERROR bad command line format"
# The modes of ``ms``: set, which is the default, add, append, prepend, replace.
STORE_MODES: Final = frozenset((b"", b"S", b"E", b"A", b"P", b"R"))
# The largest length of a block that a line may announce: memcached counts with 32 bits, and two bytes more.
_MAX_LENGTH: Final = (1 << 31) - 3


class BlockLine(NamedTuple):
    """The line of a command that carries a block.

    Attributes:
        key: The key, decoded if it was in base64.
        length: The bytes of the block, without its end.
        flags: The client's flags.
        expiry: The expiry, as the client gives it; it may be negative.
        cas: The CAS to compare with, or None.
        noreply: Whether nothing is replied, or nothing that is expected.
        meta: The flags of a meta command, or None.
        opaque: Its opaque flag, the letter included.
    """

    key: bytes
    length: int
    flags: int = 0
    expiry: int = 0
    cas: int | None = None
    noreply: bool = False
    meta: MetaFlags | None = None
    opaque: bytes = b""


class Request(NamedTuple):
    """A request.

    Attributes:
        command: The command, as it was written.
        arguments: What is behind it in its line, if it carries no block.
        size: The bytes of the request.
        line: The line of a command that carries a block; None for the others.
        value: The block.
    """

    command: bytes
    arguments: Sequence[bytes]
    size: int
    line: BlockLine | None = None
    value: bytes = b""


class Rejected(NamedTuple):
    """A request that breaks a rule. Decoding goes on with what follows.

    Attributes:
        reply: The line to reply with, without its end; empty for no reply.
        closing: Whether the connection is to be closed after the reply.
        command: The command whose block is larger than the limit; otherwise empty.
        line: The line of that command.
    """

    reply: bytes
    closing: bool = False
    command: bytes = b""
    line: BlockLine | None = None


def check_key(key: bytes) -> bytes:
    """Return a key that has no more bytes than it may.

    Raises:
        RemoteProtocolError: It has more.
    """
    if len(key) > MAX_KEY:
        raise RemoteProtocolError(BAD_LINE)
    return key


def parse_block_line(command: bytes, arguments: list[bytes]) -> BlockLine:
    """Parse the line of a classic command that carries a block.

    Raises:
        RemoteProtocolError: It can't be parsed: no block follows.
    """
    compares = command == b"cas"
    count = len(arguments) - compares
    if count not in (4, 5):
        raise RemoteProtocolError("ERROR")
    flags, expiry, length = parse_flags(arguments[1]), parse_expiry(arguments[2]), parse_signed(arguments[3])
    cas = parse_unsigned(arguments[4]) if compares else None
    if flags is None or expiry is None or length is None or (compares and cas is None) or not 0 <= length <= _MAX_LENGTH:
        raise RemoteProtocolError(BAD_LINE)
    return BlockLine(check_key(arguments[0]), length, flags, expiry, cas, arguments[-1] == NOREPLY)


def parse_login_line(arguments: list[bytes]) -> BlockLine:
    """Parse the line of a ``set`` that is to log in: of its fields, only the length counts, as in memcached.

    Clients write words into the others: emcache sends ``set _ _ _ 11``, and the package memcache ``set auth x 0 11``.

    Raises:
        RemoteProtocolError: It can't be parsed: no block follows.
    """
    return parse_block_line(b"set", [b"_", b"0", b"0", *arguments[3:]] if len(arguments) > 3 else arguments)


def block_length(arguments: list[bytes]) -> int:
    """Return how long the block of a meta command is.

    Raises:
        RemoteProtocolError: The line can't be parsed: no block follows.
    """
    if not arguments:
        raise RemoteProtocolError("ERROR")
    length = parse_signed(arguments[1]) if len(arguments) > 1 else None
    if length is None or not 0 <= length <= _MAX_LENGTH:
        raise RemoteProtocolError(BAD_LINE)
    check_key(arguments[0])
    return length


def parse_meta_block_line(arguments: list[bytes], length: int) -> BlockLine:
    """Parse the line of a meta command that carries a block.

    Raises:
        RemoteProtocolError: It can't be parsed; the block follows all the same.
    """
    meta, opaque = parse_flags_of(b" ".join(arguments[2:]))
    if meta.mode not in STORE_MODES:
        raise RemoteProtocolError("CLIENT_ERROR invalid mode for ms M token")
    key = decode_key(arguments[0]) if meta.base64 else arguments[0]
    return BlockLine(key, length, meta.flags, meta.ttl or 0, meta.cas, meta.quiet, meta, opaque)


def parse_meta_line(arguments: Sequence[bytes]) -> tuple[bytes, MetaFlags, bytes]:
    """Return the key, the flags and the opaque flag of a meta command that carries no block.

    Raises:
        RemoteProtocolError: They can't be parsed.
    """
    if not arguments:
        raise RemoteProtocolError("ERROR")
    key = check_key(arguments[0])
    meta, opaque = parse_flags_of(b" ".join(arguments[1:]))
    return (decode_key(key) if meta.base64 else key), meta, opaque
