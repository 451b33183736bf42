"""Requests out of bytes. Feed `receive_data`, then call `next_event` until it returns `NEED_DATA`."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple, Union

from ._errors import RemoteProtocolError
from ._frames import HEADER, MAX_FRAME, MAX_KEY, MAX_VALUE, Request
from ._framing import FrameInfo, parse_frame_infos
from ._leb128 import MAX_LEB128_BYTES, decode_leb128, encode_leb128
from ._opcodes import Magic, Opcode
from ._receiving import NeedData, ReceiveBuffer
from ._shapes import KeyRule, Shape, Shapes
from ._status import Status

# The id of the default collection, in the form in which it stands before a key.
DEFAULT_COLLECTION: Final = b"\0"

_HEADER_SIZE = HEADER.size
# Where the CAS is in the header, up to its end, and what it is if there is none.
_CAS = 16
_NO_CAS = bytes(_HEADER_SIZE - _CAS)
_unpack_header = HEADER.unpack_from
_REQUEST = int(Magic.REQUEST)
_FLEXIBLE_REQUEST = int(Magic.FLEXIBLE_REQUEST)
# Fields of the header: magic and opcode; key length, extras length and datatype; vbucket; body length; opaque.
_unpack_get = struct.Struct(">HLHLL8x").unpack_from
_PLAIN_GET = Magic.REQUEST << 8 | Opcode.GET
# The minimum number of GETs to decode together, since preparing this costs as much as a few of them: picked, not measured.
_MANY_GETS = 8


class _PlainGet(NamedTuple):
    """The form of plain GETs whose keys have one length.

    Attributes:
        start: The bytes before the opaque.
        columns: The positions in the header at which all these GETs have the same byte, and that byte.
        layout: Unpacks the opaque, and the key with the byte before it.
    """

    start: bytes
    columns: tuple[tuple[int, bytes], ...]
    layout: struct.Struct


@lru_cache(2 * MAX_KEY)
def _plain_get(key_length: int, without_cas: bool) -> _PlainGet:
    start = bytes((_REQUEST, 0, 0, key_length, 0, 0, 0, 0, 0, 0, 0, key_length))
    columns = [(position, bytes((byte,))) for position, byte in enumerate(start)]
    columns += [(position, b"\0") for position in range(_CAS if without_cas else _HEADER_SIZE - 1, _HEADER_SIZE)]
    layout = struct.Struct(f">12xL7x{1 + key_length}s")
    return _PlainGet(start, tuple(columns), layout)


class Rejected(NamedTuple):
    """A request that breaks a rule. Its body is skipped, and decoding goes on with the next frame.

    Attributes:
        opcode: The opcode.
        opaque: The opaque.
        status: The status to reply with.
        reason: What is wrong, in words.
        fatal: Whether a classic session closes the connection after the reply. If `lost` is set, any session does.
        lost: Whether the beginning of the next frame is unknown.
        too_big: Whether the value is larger than the limit. Only then is `key` known.
        key: The key.
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
        raise RemoteProtocolError(f"a request must begin with 0x80 or 0x08, not with 0x{magic:02x}")


class RequestDecoder(ReceiveBuffer):
    """The decoder of requests, for servers.

    It never holds more than one frame of the maximum size and the bytes of one `receive_data`.

    The keys of items in its events always begin with the id of a collection, in the shortest LEB128. If collections are not
    enabled, this is the id of the default collection, 0.

    Args:
        shapes: The shapes of requests, by opcode.
        max_value: The maximum number of bytes of a value to store. A request with more gives `Rejected.too_big`.
        max_frame: The maximum number of bytes of a frame. A longer one gives `Rejected.lost`.

    Attributes:
        max_value: That maximum, which may be changed.
        max_frame: That maximum, which may be changed: a server may be stricter before a client has logged in.
        datatypes: The datatype bits that have been negotiated.
        gets_without_cas: Whether a GET with a CAS does not count as a plain one in `next_gets`.
        collections: Whether keys arrive with the id of a collection before them, and so may be five bytes longer.
    """

    __slots__ = ("_shapes", "collections", "datatypes", "gets_without_cas", "max_frame", "max_value")

    def __init__(self, shapes: Shapes, max_value: int = MAX_VALUE, max_frame: int = MAX_FRAME) -> None:
        super().__init__()
        self._shapes = shapes
        self.max_value = max_value
        self.max_frame = max_frame
        self.datatypes = 0
        self.gets_without_cas = False
        self.collections = False

    def next_event(self) -> Request | Rejected | NeedData:
        """Return the next frame, either as a request or as rejected.

        Raises:
            RemoteProtocolError: The first byte of the frame is not the magic of a request. Close the connection without a reply.
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
        """Return a key with the id of its collection in its shortest form."""
        if not key and shape.key is not KeyRule.REQUIRED:
            return DEFAULT_COLLECTION
        collection, offset = decode_leb128(key)
        size = len(key) - offset
        if size > MAX_KEY or (size == 0 and shape.key is KeyRule.REQUIRED):
            raise RemoteProtocolError(f"the key after the collection has {size} bytes; it must have 1 to {MAX_KEY}")
        return encode_leb128(collection) + key[offset:]

    def next_gets(self) -> list[tuple[int, bytes]]:
        """Return the run of plain GETs that comes next, as opaques and keys. It is empty if another frame comes next.

        The result is the same as that of `next_event` for each, in a fraction of the time. This is for long pipelines of GETs.
        """
        if self.collections:
            return []
        data = self._data
        last = len(data) - _HEADER_SIZE
        gets = self._gets_of_one_size()
        append = gets.append
        offset = self._offset
        longest = MAX_KEY + _HEADER_SIZE
        strict = self.gets_without_cas
        while offset <= last:
            start, length, vbucket, body, opaque = _unpack_get(data, offset)
            end = offset + _HEADER_SIZE + body
            # The first two bytes are the magic and the opcode. The length of the extras and the datatype must be 0.
            if (
                start != _PLAIN_GET
                or length >> 16 != body
                or length & 0xFFFF
                or vbucket
                or not _HEADER_SIZE < end - offset <= longest
                or (strict and not data.startswith(_NO_CAS, offset + _CAS))
            ):
                break
            if end > last + _HEADER_SIZE:
                break
            append((opaque, DEFAULT_COLLECTION + data[offset + _HEADER_SIZE : end]))
            offset = end
        self._offset = offset
        return gets

    def _gets_of_one_size(self) -> list[tuple[int, bytes]]:
        """Return the plain GETs that come next if they are many and their keys have one length, without looking at each of them.

        Written one below the other, their headers form columns. Each column must be one byte repeated, except those of the opaque
        and, where a CAS is accepted, the CAS. The last byte of the CAS must be 0: it comes right before the key, and so serves as
        the id of the default collection.
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
        start, columns, layout = _plain_get(key_length, self.gets_without_cas)
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
                f"the key and the extras are longer than the body of {body_length} bytes",
                lost=True,
            )
        return Rejected(opcode, opaque, Status.INVALID, f"the body of {body_length} bytes is over the limit", lost=True)

    def _misshapen(
        self, shape: Shape, opcode: int, opaque: int, datatype: int, extras_length: int, key_length: int, end: int
    ) -> Rejected:
        self._skip_to(end)
        if datatype & ~self.datatypes:
            reason = f"datatype 0x{datatype:02x} was not negotiated"
        elif extras_length not in shape.extras:
            reason = f"the extras have {extras_length} bytes, not {' or '.join(map(str, sorted(shape.extras)))}"
        elif shape.key is KeyRule.NONE and key_length:
            reason = "the request can't have a key"
        elif key_length == 0 and shape.key is KeyRule.REQUIRED:
            reason = "the request must have a key"
        elif key_length > self._longest_key(shape):
            reason = f"the key has {key_length} bytes; the maximum is {self._longest_key(shape)}"
        else:
            reason = "the request can't have a value"
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
        reason = f"the value has {size} bytes; the maximum is {self.max_value}"
        return Rejected(opcode, opaque, Status.TOO_BIG, reason, fatal=False, too_big=True, key=key)


Event = Union[Request, Rejected, NeedData]
