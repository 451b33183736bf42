"""Requests out of bytes. Feed `receive_data`, then call `next_event` until it returns `NEED_DATA`.

A request is a line that ends with a line feed, and perhaps a carriage return before it. The lines of storage commands announce a
block, which ends with a carriage return and a line feed.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Union

from ._errors import RemoteProtocolError
from ._meta import MAX_TOKENS, MetaFlags, parse_flags_of
from ._requests import (
    BAD_LINE,
    NOREPLY,
    STORE_MODES,
    BlockLine,
    Rejected,
    Request,
    block_length,
    parse_block_line,
    parse_login_line,
    parse_meta_block_line,
)

# The longest line, in bytes, unless it may have many keys: memcached's limit.
MAX_LINE: Final = 2048
# The longest line with keys. memcached takes any; this is room for 100,000 keys of ten bytes. Picked, not measured.
MAX_KEYS_LINE: Final = 1024 * 1024
# A line with keys may begin with so many blanks, or fewer: memcached's limit.
_MAX_BLANKS: Final = 100
# Requests that are counted at most. Picked, not measured: parsing so many takes some milliseconds.
_MAX_QUEUED: Final = 1000
_MANY_KEYS: Final = (b"get ", b"gets ", b"gat ", b"gats ")
_STORING: Final = frozenset((b"set", b"add", b"replace", b"append", b"prepend", b"cas"))
_BLOCK_END: Final = b"\r\n"
# The bytes of keys that need no further look.
_KEY: Final = rb"[\x21-\xff]{1,250}"
_GETS: Final = re.compile(rb"(?:get " + _KEY + rb"\r\n)+")
_GETS_WITH_CAS: Final = re.compile(rb"(?:gets " + _KEY + rb"\r\n)+")
# The lines of nearly all stores. What looks different is taken apart word by word.
_STORE: Final = re.compile(rb"(set|add|replace) (" + _KEY + rb") (\d{1,9}) (\d{1,9}) (\d{1,8})( noreply)?\r\n")
_META_STORE: Final = re.compile(rb"ms (" + _KEY + rb") (\d{1,8})(?: ([^\r\n\0]{1,200}))?\r\n")
_META_GET: Final = re.compile(rb"mg " + _KEY + rb"( [^\r\n\0]{1,100})\r\n")
# Lines of a run that are decoded at once, so that one run is no larger than a client may be answered at once. Picked.
_LONGEST_RUN: Final = 64 * 1024


class _NeedData(Enum):
    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = _NeedData.NEED_DATA
NeedData = Literal[_NeedData.NEED_DATA]


class Run(NamedTuple):
    """Requests for one item each that came one after the other, and ask for the same.

    Attributes:
        keys: The keys.
        meta: The flags of ``mg``; None for ``get`` and ``gets``.
        opaque: The opaque flag of all of them, the letter included.
        cas: Whether they are ``gets``.
    """

    keys: list[bytes]
    meta: MetaFlags | None = None
    opaque: bytes = b""
    cas: bool = False


@lru_cache(64)
def _meta_gets(flags: bytes) -> tuple[re.Pattern[bytes], MetaFlags, bytes] | None:
    """Return what finds a run of ``mg`` with the same flags, and the flags; None if these have to be looked at one by one."""
    try:
        meta, opaque = parse_flags_of(flags)
    except RemoteProtocolError:
        return None
    if meta.base64 or flags.count(b" ") >= MAX_TOKENS:
        return None
    return re.compile(rb"(?:mg " + _KEY + re.escape(flags) + rb"\r\n)+"), meta, opaque


class RequestDecoder:
    """The decoder of requests, for servers.

    It never holds more than one line and one block of the maximum sizes, and the bytes of one `receive_data`.

    Args:
        max_value: The maximum number of bytes of a value to store. A request with more gives a `Rejected` with its line.

    Attributes:
        max_value: That maximum, which may be changed.
        max_keys_line: The maximum number of bytes of a line with keys, which may be changed.
        login: Whether the client has still to log in, so that a ``set`` is a login. It may be changed.
    """

    __slots__ = (
        "_block", "_command", "_data", "_line_bound", "_line_size", "_needed", "_offset", "_partial", "_skip", "login",
        "max_keys_line", "max_value",
    )  # fmt: skip

    def __init__(self, max_value: int, max_keys_line: int = MAX_KEYS_LINE) -> None:
        self.max_value = max_value
        self.max_keys_line = max_keys_line
        self.login = False
        self._data = b""
        self._offset = 0
        self._partial = bytearray()  # the beginning of a line or of a block that is not complete
        self._needed = 0  # how long `_partial` must be before it is worth parsing again; 0 for a line, until it has an end
        self._skip = 0  # how many bytes of a block that is not wanted are still to come
        self._block: BlockLine | None = None  # whose block comes next
        self._command = b""  # the command of that line
        self._line_size = 0  # the bytes of that line
        self._line_bound = MAX_LINE  # how long `_partial` may become before it is looked at although it has no end

    @property
    def buffered(self) -> int:
        """The number of bytes held of a request that is not complete."""
        return len(self._data) - self._offset + len(self._partial) + (self._line_size if self._block is not None else 0)

    @property
    def skipping(self) -> int:
        """The number of bytes that are still to come of a block that is not wanted."""
        return self._skip

    def receive_data(self, data: bytes) -> None:
        """Add bytes that the client sent. Call this only when `next_event` has returned `NEED_DATA`."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        partial = self._partial
        if not partial and self._offset >= len(self._data):
            self._data, self._offset = data, 0
            return
        partial += data
        if len(partial) >= self._needed if self._needed else (b"\n" in data or len(partial) > self._line_bound):
            self._data, self._offset = bytes(partial), 0
            self._partial = bytearray()

    def next_event(self) -> Request | Rejected | NeedData:
        """Return the next request, or why it is refused."""
        if self._block is not None:
            return self._finish_block(self._block)
        data, start = self._data, self._offset
        if (stored := self._next_store(data, start)) is not None:
            return stored
        end = data.find(b"\n", start)
        if end < 0:
            return self._wait_for_line()
        self._offset = end + 1
        line = data[start : end - 1] if end > start and data[end - 1] == 13 else data[start:end]
        tokens = line.split(b" ")
        if b"" in tokens:
            tokens = [token for token in tokens if token]
        if b"\0" in line:
            return Rejected(BAD_LINE.encode())
        if not tokens:
            return Rejected(b"ERROR")
        command = tokens[0]
        if command in _STORING or command == b"ms":
            return self._begin_block(command, tokens[1:], end + 1 - start)
        return Request(command, tokens[1:], end + 1 - start)

    def _next_store(self, data: bytes, start: int) -> Request | None:
        """Return the store that comes next, if it is a plain one and all of it is there."""
        match = _STORE.match(data, start)
        if match is not None:
            command, key, flags, expiry, size, noreply = match.groups()
            length, at = int(size), match.end()
            line = BlockLine(key, length, int(flags), int(expiry), None, noreply is not None)
        else:
            match = _META_STORE.match(data, start)
            if match is None:
                return None
            command = b"ms"
            key, size, text = match.groups()
            length, at = int(size), match.end()
            if text and (b"  " in text or text[:1] == b" " or text[-1:] == b" "):
                return None
            try:
                meta, opaque = parse_flags_of(text or b"")
            except RemoteProtocolError:
                return None
            if meta.base64 or meta.mode not in STORE_MODES or (text and text.count(b" ") > MAX_TOKENS - 4):
                return None
            line = BlockLine(key, length, meta.flags, meta.ttl or 0, meta.cas, meta.quiet, meta, opaque)
        end = at + length
        if length > self.max_value or not data.startswith(_BLOCK_END, end):
            return None
        self._offset = end + len(_BLOCK_END)
        return Request(command, (), self._offset - start, line, data[at:end])

    def _wait_for_line(self) -> Rejected | NeedData:
        rest = len(self._data) - self._offset
        self._line_bound = MAX_LINE if rest <= MAX_LINE else self.max_keys_line
        if rest > MAX_LINE:
            beginning = self._data[self._offset : self._offset + MAX_LINE]
            line = beginning.lstrip(b" ")
            if len(beginning) - len(line) > _MAX_BLANKS or not line.startswith(_MANY_KEYS) or rest > self.max_keys_line:
                self._data, self._offset = b"", 0
                return Rejected(b"CLIENT_ERROR line is too long", closing=True)
        return self._wait(0)

    def _wait(self, needed: int) -> NeedData:
        if self._offset < len(self._data):
            self._partial = bytearray(self._data[self._offset :])
        self._data, self._offset = b"", 0
        self._needed = needed
        return NEED_DATA

    def _begin_block(self, command: bytes, arguments: list[bytes], size: int) -> Request | Rejected | NeedData:
        try:
            if command == b"set" and self.login:
                line = parse_login_line(arguments)
            elif command != b"ms":
                line = parse_block_line(command, arguments)
            else:
                length = block_length(arguments)
                if len(arguments) >= MAX_TOKENS:
                    raise RemoteProtocolError("CLIENT_ERROR options flags too long")
                try:
                    line = parse_meta_block_line(arguments, length)
                except RemoteProtocolError as exc:
                    self._skip_block(length)
                    return Rejected(exc.line)
        except RemoteProtocolError as exc:
            quiet = exc.line != b"ERROR" and arguments[-1] == NOREPLY and command != b"ms"
            return Rejected(b"" if quiet else exc.line)
        if line.length > self.max_value:
            self._skip_block(line.length)
            return Rejected(b"SERVER_ERROR object too large for cache", command=command, line=line)
        self._block, self._command, self._line_size = line, command, size
        return self._finish_block(line)

    def _skip_block(self, length: int) -> None:
        end = self._offset + length + len(_BLOCK_END)
        self._skip = max(end - len(self._data), 0)
        self._offset = min(end, len(self._data))

    def _finish_block(self, line: BlockLine) -> Request | Rejected | NeedData:
        data, start = self._data, self._offset
        end = start + line.length
        if end + len(_BLOCK_END) > len(data):
            if self._partial:
                return NEED_DATA
            return self._wait(line.length + len(_BLOCK_END))
        self._block = None
        self._offset = end + len(_BLOCK_END)
        if not data.startswith(_BLOCK_END, end):
            quiet = line.noreply and line.meta is None
            return Rejected(b"" if quiet else b"CLIENT_ERROR bad data chunk")
        return Request(self._command, (), self._line_size + line.length + len(_BLOCK_END), line, data[start:end])

    def queued(self, ahead: bytes, max_commands: int) -> tuple[int, list[bytes]]:
        """Return how many whole requests wait to be parsed, up to a bound, and the commands of the first ones.

        Args:
            ahead: Bytes that come behind those that were received.
            max_commands: The maximum number of commands.
        """
        if self._partial:
            return 0, []  # one that is not complete yet
        other = RequestDecoder(self.max_value, self.max_keys_line)
        other.login = self.login
        other._block, other._command, other._line_size, other._skip = self._block, self._command, self._line_size, self._skip
        other.receive_data(self._data[self._offset :] + ahead)
        number, commands = 0, list[bytes]()
        while number < _MAX_QUEUED and (event := other.next_event()) is not NEED_DATA:
            number += 1
            if len(commands) < max_commands:
                commands.append(event.command)
        return number, commands

    def next_run(self) -> Run | None:
        """Return the run of ``get`` or ``mg`` for one key each that comes next; None if something else comes.

        The result is the same as that of `next_event` for each, in a fraction of the time. This is for long pipelines.
        """
        data, start = self._data, self._offset
        if self._block is not None:
            return None
        if data.startswith(b"get ", start):
            match = _GETS.match(data, start, start + _LONGEST_RUN)
            if match is None:
                return None
            self._offset = end = match.end()
            return Run(data[start + 4 : end - 2].split(b"\r\nget "))
        if data.startswith(b"mg ", start):
            return self._next_meta_run(data, start)
        if data.startswith(b"gets ", start) and (match := _GETS_WITH_CAS.match(data, start, start + _LONGEST_RUN)):
            self._offset = end = match.end()
            return Run(data[start + 5 : end - 2].split(b"\r\ngets "), cas=True)
        return None

    def _next_meta_run(self, data: bytes, start: int) -> Run | None:
        first = _META_GET.match(data, start)
        found = None if first is None else _meta_gets(first[1])
        if first is None or found is None:
            return None
        pattern, meta, opaque = found
        match = pattern.match(data, start, start + _LONGEST_RUN)
        if match is None:
            return None
        flags = first[1]
        self._offset = end = match.end()
        return Run(data[start + 3 : end - 2 - len(flags)].split(flags + b"\r\nmg "), meta, opaque)


Event = Union[Request, Rejected, NeedData]
