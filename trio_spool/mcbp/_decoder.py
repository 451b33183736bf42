"""Frames out of bytes. Feed `receive_data`, then call `next_event` until it returns NEED_DATA."""

from __future__ import annotations

import struct
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Union

from ._errors import RemoteProtocolError
from ._frames import HEADER, MAX_FRAME, MAX_KEY, MAX_VALUE, Request, Response
from ._framing import FrameInfo, parse_frame_infos
from ._leb128 import MAX_LEB128_BYTES, decode_leb128, encode_leb128
from ._opcodes import Magic, Opcode
from ._shapes import KeyRule, Shape, Shapes
from ._status import Status


class _NeedData(Enum):
    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = _NeedData.NEED_DATA
NeedData = Literal[_NeedData.NEED_DATA]

# The id of the default collection, as it stands before a key.
DEFAULT_COLLECTION: Final = b"\0"

_HEADER_SIZE = HEADER.size
_unpack_header = HEADER.unpack_from
_REQUEST = int(Magic.REQUEST)
_FLEXIBLE_REQUEST = int(Magic.FLEXIBLE_REQUEST)
_RESPONSE = int(Magic.RESPONSE)
# Of the header: magic and opcode; key length, extras length and datatype; vbucket; body length; opaque.
_unpack_get = struct.Struct(">HLHLL8x").unpack_from
_PLAIN_GET = Magic.REQUEST << 8 | Opcode.GET
_FLEXIBLE_RESPONSE = int(Magic.FLEXIBLE_RESPONSE)
# So many GETs are decoded together; the way there costs as much as a few of them.
_MANY_GETS = 8


class _PlainGet(NamedTuple):
    """What plain GETs with keys of one length look like.

    Attributes:
        start: The bytes before the opaque.
        columns: Where in the header they are the same, and which byte is there: at the start, and right before the key.
        layout: The opaque, and the key with the byte before it.
    """

    start: bytes
    columns: tuple[tuple[int, bytes], ...]
    layout: struct.Struct


@lru_cache(MAX_KEY)
def _plain_get(key_length: int) -> _PlainGet:
    start = bytes((_REQUEST, 0, 0, key_length, 0, 0, 0, 0, 0, 0, 0, key_length))
    columns = tuple((position, bytes((byte,))) for position, byte in enumerate(start))
    layout = struct.Struct(f">12xL7x{1 + key_length}s")
    return _PlainGet(start, (*columns, (_HEADER_SIZE - 1, DEFAULT_COLLECTION)), layout)


class Rejected(NamedTuple):
    """A request that breaks a rule; its body has been left out, and the stream is in step behind it.

    Attributes:
        status: What to reply.
        reason: What is wrong, for people.
        fatal: Whether a classic session closes the connection after the reply; or any session, if `lost` is set.
        lost: Where the next frame begins can't be told.
        too_big: The value is over the limit. Only then `key` is known.
    """

    opcode: int
    opaque: int
    status: int
    reason: str
    fatal: bool = True
    lost: bool = False
    too_big: bool = False
    key: bytes = b""


def _check_request(magic: int) -> None:
    if magic not in (_REQUEST, _FLEXIBLE_REQUEST):
        raise RemoteProtocolError(f"a request begins with 0x80 or 0x08, not with 0x{magic:02x}")


def _check_response(magic: int) -> None:
    if magic not in (_RESPONSE, _FLEXIBLE_RESPONSE):
        raise RemoteProtocolError(f"a response begins with 0x81 or 0x18, not with 0x{magic:02x}")


class _Buffer:
    """Received bytes: those being parsed, with an offset, and the beginning of a frame that is not yet complete."""

    __slots__ = ("_data", "_needed", "_offset", "_partial", "_skip")

    def __init__(self) -> None:
        self._data = b""
        self._offset = 0
        self._partial = bytearray()
        self._needed = _HEADER_SIZE  # bytes of `_partial` before another look is worth it
        self._skip = 0  # bytes still to come of a body that nobody wants

    @property
    def buffered(self) -> int:
        """How many bytes are held."""
        return len(self._data) - self._offset + len(self._partial)

    def receive_data(self, data: bytes) -> None:
        """Add what the peer sent. Call it only when `next_event` has returned NEED_DATA."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if not self._partial and self._offset >= len(self._data):
            self._data, self._offset = data, 0
            return
        self._partial += data
        if len(self._partial) >= self._needed:
            self._data, self._offset = bytes(self._partial), 0
            self._partial = bytearray()

    def _wait_for(self, size: int) -> NeedData:
        """Keep the rest of the data until there are `size` bytes of it."""
        if self._partial:
            return NEED_DATA  # not yet what was asked for before
        if self._offset < len(self._data):
            self._partial = bytearray(self._data[self._offset :])
        self._data, self._offset = b"", 0
        self._needed = size
        return NEED_DATA

    def _skip_to(self, end: int) -> None:
        """Drop everything before offset `end`, which may lie in data still to come."""
        if end > len(self._data):
            self._skip = end - len(self._data)
            end = len(self._data)
        self._offset = end


class RequestDecoder(_Buffer):
    """The server's side.

    What it holds is never more than one frame of the largest size and what one `receive_data` brought.

    Args:
        shapes: The shapes of requests, by opcode.
        max_value: The most bytes of a value that is stored; a request with more gives `Rejected.too_big`.
        max_frame: The most bytes of a frame; above that the stream is `Rejected.lost`.

    Attributes:
        max_value: As above; may be changed.
        max_frame: As above; may be changed: a server is strict before a client has authenticated.
        datatypes: The datatype bits that have been negotiated.
        collections: Whether keys arrive with the id of a collection before them, and so may be five bytes longer.

    The keys of items that it returns always begin with the id of a collection, in the shortest LEB128: where collections are not
    enabled, that is the default collection's, 0.
    """

    __slots__ = ("_shapes", "collections", "datatypes", "max_frame", "max_value")

    def __init__(self, shapes: Shapes, max_value: int = MAX_VALUE, max_frame: int = MAX_FRAME) -> None:
        super().__init__()
        self._shapes = shapes
        self.max_value = max_value
        self.max_frame = max_frame
        self.datatypes = 0
        self.collections = False

    def next_event(self) -> Request | Rejected | NeedData:
        """Return the next frame, as a request or as what is wrong with it.

        Raises:
            RemoteProtocolError: It does not begin with the magic of a request, which its first byte tells. Close without a word.
        """
        data, start = self._data, self._offset
        if len(data) - start < _HEADER_SIZE:
            if start < len(data):
                _check_request(data[start])
            return self._wait_for(_HEADER_SIZE)
        magic, opcode, key_length, extras_length, datatype, vbucket, body_length, opaque, cas = _unpack_header(data, start)
        framing_length = 0
        if magic != _REQUEST:
            _check_request(magic)
            framing_length, key_length = key_length >> 8, key_length & 0xFF

        body = start + _HEADER_SIZE
        end = body + body_length
        extras_at = body + framing_length
        key_at = extras_at + extras_length
        value_at = key_at + key_length
        if value_at > end or body_length + _HEADER_SIZE > self.max_frame:
            return self._lost(opcode, opaque, body_length, value_at > end)
        shape = self._shapes[opcode]
        if shape is not None and (
            datatype & ~self.datatypes
            or extras_length not in shape.extras
            or not (1 if shape.key is KeyRule.REQUIRED else 0) <= key_length <= self._longest_key(shape)
            or (end > value_at and not shape.value)
        ):
            return self._misshapen(shape, opcode, opaque, datatype, extras_length, key_length, end)
        if shape is not None and shape.stores and end - value_at > self.max_value:
            return self._too_big(shape, opcode, opaque, key_at - start, value_at - start, end)
        if end > len(data):
            return self._wait_for(end - start)
        self._offset = end
        frame_infos: tuple[FrameInfo, ...] = ()
        if framing_length:
            try:
                frame_infos = parse_frame_infos(data[body:extras_at])
            except RemoteProtocolError as exc:
                return Rejected(opcode, opaque, exc.status_hint or Status.INVALID, str(exc), fatal=False)
        key = data[key_at:value_at]
        if shape is not None and shape.collection:
            if not self.collections:
                key = DEFAULT_COLLECTION + key
            elif len(key) < 2 or key[0] > 0x7F or len(key) > MAX_KEY:
                try:
                    key = self._checked(key, shape)
                except RemoteProtocolError as exc:
                    return Rejected(opcode, opaque, Status.INVALID, str(exc), fatal=False)
        return Request(
            opcode, vbucket, datatype, opaque, cas,
            data[extras_at:key_at], key, data[value_at:end], end - start, frame_infos,
        )  # fmt: skip

    def _checked(self, key: bytes, shape: Shape) -> bytes:
        """Return a key with its collection, which is spelled as short as it can be."""
        if not key and shape.key is not KeyRule.REQUIRED:
            return DEFAULT_COLLECTION
        collection, offset = decode_leb128(key)
        size = len(key) - offset
        if size > MAX_KEY or (size == 0 and shape.key is KeyRule.REQUIRED):
            raise RemoteProtocolError(f"a key of {size} bytes behind that of its collection; it must have 1 to {MAX_KEY}")
        return encode_leb128(collection) + key[offset:]

    def next_gets(self) -> list[tuple[int, bytes]]:
        """Return the run of plain GETs that comes next, as opaques and keys: empty if something else comes next.

        The same as `next_event` for each of them, in a fraction of the time: long pipelines of GETs are what this is for.
        """
        if self.collections:
            return []
        data = self._data
        last = len(data) - _HEADER_SIZE
        gets = self._gets_of_one_size()
        append = gets.append
        offset = self._offset
        longest = MAX_KEY + _HEADER_SIZE
        while offset <= last:
            start, length, vbucket, body, opaque = _unpack_get(data, offset)
            end = offset + _HEADER_SIZE + body
            # The first two bytes are magic and opcode; the extras' length and the datatype are 0.
            if (
                start != _PLAIN_GET
                or length >> 16 != body
                or length & 0xFFFF
                or vbucket
                or not _HEADER_SIZE < end - offset <= longest
            ):
                break
            if end > last + _HEADER_SIZE:
                break
            append((opaque, DEFAULT_COLLECTION + data[offset + _HEADER_SIZE : end]))
            offset = end
        self._offset = offset
        return gets

    def _gets_of_one_size(self) -> list[tuple[int, bytes]]:
        """Return the plain GETs that come next and have keys of one length, if they are many: without a look at each.

        One after the other, their headers form columns; all but those of the opaque and the CAS must be the same byte throughout.
        The last byte of the CAS, which must be 0, comes right before the key, and so is the default collection's id.
        """
        data, offset = self._data, self._offset
        room = len(data) - offset
        if room < _HEADER_SIZE:
            return []
        key_length = data[offset + 3]
        size = _HEADER_SIZE + key_length
        count = room // size
        if count < _MANY_GETS or not 0 < key_length <= MAX_KEY:
            return []
        start, columns, layout = _plain_get(key_length)
        if not data.startswith(start, offset):
            return []
        end = offset + count * size
        for column, byte in columns:
            bytes_ = data[offset + column : end : size]
            same = len(bytes_) - len(bytes_.lstrip(byte))
            if same < count:
                count = same
                end = offset + count * size
        self._offset = end
        return list(layout.iter_unpack(data[offset:end]))

    def _longest_key(self, shape: Shape) -> int:
        if shape.key is KeyRule.NONE:
            return 0
        return MAX_KEY + MAX_LEB128_BYTES if self.collections and shape.collection else MAX_KEY

    def _lost(self, opcode: int, opaque: int, body_length: int, contradictory: bool) -> Rejected:
        self._data, self._offset = b"", 0
        if contradictory:
            return Rejected(
                opcode,
                opaque,
                Status.UNKNOWN_COMMAND,
                f"key and extras exceed the body of {body_length} bytes",
                lost=True,
            )
        return Rejected(opcode, opaque, Status.INVALID, f"a frame with a body of {body_length} bytes is over the limit", lost=True)

    def _misshapen(
        self, shape: Shape, opcode: int, opaque: int, datatype: int, extras_length: int, key_length: int, end: int
    ) -> Rejected:
        self._skip_to(end)
        if datatype & ~self.datatypes:
            reason = f"datatype 0x{datatype:02x} was not negotiated"
        elif extras_length not in shape.extras:
            reason = f"extras of {extras_length} bytes; expected {' or '.join(map(str, sorted(shape.extras)))}"
        elif shape.key is KeyRule.NONE and key_length:
            reason = "a key where none is expected"
        elif key_length == 0 and shape.key is KeyRule.REQUIRED:
            reason = "no key"
        elif key_length > self._longest_key(shape):
            reason = f"a key of {key_length} bytes; the longest is {self._longest_key(shape)}"
        else:
            reason = "a value where none is expected"
        return Rejected(opcode, opaque, Status.INVALID, reason)

    def _too_big(self, shape: Shape, opcode: int, opaque: int, key_offset: int, value_offset: int, end: int) -> Rejected | NeedData:
        if len(self._data) - self._offset < value_offset:
            return self._wait_for(value_offset)
        key = self._data[self._offset + key_offset : self._offset + value_offset]
        size = end - self._offset - value_offset
        self._skip_to(end)
        try:
            key = self._checked(key, shape) if self.collections else DEFAULT_COLLECTION + key
        except RemoteProtocolError as exc:
            return Rejected(opcode, opaque, Status.INVALID, str(exc), fatal=False)
        reason = f"a value of {size} bytes is over the limit of {self.max_value}"
        return Rejected(opcode, opaque, Status.TOO_BIG, reason, fatal=False, too_big=True, key=key)


class ResponseDecoder(_Buffer):
    """The client's side.

    Args:
        max_frame: The most bytes that a response may have.
    """

    __slots__ = ("max_frame",)

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        super().__init__()
        self.max_frame = max_frame

    def next_event(self) -> Response | NeedData:
        """Return the next response.

        Raises:
            RemoteProtocolError: What was received is not a response, contradicts itself, or is over the limit.
        """
        data, start = self._data, self._offset
        if len(data) - start < _HEADER_SIZE:
            if start < len(data):
                _check_response(data[start])
            return self._wait_for(_HEADER_SIZE)
        magic, opcode, key_length, extras_length, datatype, status, body_length, opaque, cas = _unpack_header(data, start)
        framing_length = 0
        if magic == _FLEXIBLE_RESPONSE:
            framing_length, key_length = key_length >> 8, key_length & 0xFF
        elif magic != _RESPONSE:
            _check_response(magic)
        body = start + _HEADER_SIZE
        end = body + body_length
        extras_at = body + framing_length
        key_at = extras_at + extras_length
        value_at = key_at + key_length
        if value_at > end:
            raise RemoteProtocolError(f"a response whose key and extras exceed its body of {body_length} bytes")
        if end - start > self.max_frame:
            raise RemoteProtocolError(f"a response of {end - start} bytes; the limit is {self.max_frame}")
        if end > len(data):
            return self._wait_for(end - start)
        self._offset = end
        return Response(
            opcode, status, datatype, opaque, cas,
            data[extras_at:key_at], data[key_at:value_at], data[value_at:end], end - start, data[body:extras_at],
        )  # fmt: skip


Event = Union[Request, Rejected, NeedData]
