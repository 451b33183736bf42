"""Responses out of bytes. Feed `receive_data`, then call `next_event` until it returns `NEED_DATA`."""

from __future__ import annotations

from ._errors import RemoteProtocolError
from ._frames import HEADER, MAX_FRAME, Response
from ._opcodes import Magic
from ._receiving import NeedData, ReceiveBuffer

_HEADER_SIZE = HEADER.size
_unpack_header = HEADER.unpack_from
_RESPONSE = int(Magic.RESPONSE)
_FLEXIBLE_RESPONSE = int(Magic.FLEXIBLE_RESPONSE)


def _check_response(magic: int) -> None:
    if magic not in (_RESPONSE, _FLEXIBLE_RESPONSE):
        raise RemoteProtocolError(f"a response must begin with 0x81 or 0x18, not with 0x{magic:02x}")


class ResponseDecoder(ReceiveBuffer):
    """The decoder of responses, for clients.

    Args:
        max_frame: The maximum number of bytes of a response.
    """

    __slots__ = ("max_frame",)

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        super().__init__()
        self.max_frame = max_frame

    def next_event(self) -> Response | NeedData:
        """Return the next response.

        Raises:
            RemoteProtocolError: The received bytes are not a response, contradict themselves, or are more than the limit allows.
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
            raise RemoteProtocolError(f"the key and the extras of a response are longer than its body of {body_length} bytes")
        if end - start > self.max_frame:
            raise RemoteProtocolError(f"a response has {end - start} bytes; the maximum is {self.max_frame}")
        if end > len(data):
            return self._wait_for(end - start)
        self._offset = end
        return Response(
            opcode, status, datatype, opaque, cas,
            data[extras_at:key_at], data[key_at:value_at], data[value_at:end], end - start, data[body:extras_at],
        )  # fmt: skip
