"""The bytes that were received, which both decoders take frames from."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

from ._frames import HEADER

_HEADER_SIZE = HEADER.size
# Frames that are counted at most. Picked, not measured: it takes less than a millisecond.
_MAX_QUEUED: Final = 1000


class _NeedData(Enum):
    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = _NeedData.NEED_DATA
NeedData = Literal[_NeedData.NEED_DATA]


class ReceiveBuffer:
    """Received bytes: those being parsed, with an offset, and the beginning of a frame that is not complete yet."""

    __slots__ = ("_data", "_needed", "_offset", "_partial", "_skip")

    def __init__(self) -> None:
        self._data = b""
        self._offset = 0
        self._partial = bytearray()
        self._needed = _HEADER_SIZE  # how long `_partial` must be before it is worth parsing again
        self._skip = 0  # how many bytes of a body that is not wanted are still to come

    @property
    def buffered(self) -> int:
        """The number of bytes held."""
        return len(self._data) - self._offset + len(self._partial)

    @property
    def skipping(self) -> int:
        """The number of bytes that are still to come of a body that is not wanted."""
        return self._skip

    @property
    def unfinished(self) -> bytes:
        """The beginning of the frame that has arrived in part."""
        return bytes(self._partial[:_HEADER_SIZE])

    def receive_data(self, data: bytes) -> None:
        """Add bytes that the peer sent. Call this only when `next_event` has returned `NEED_DATA`."""
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
        """Keep the rest of the data until it has `size` bytes."""
        if self._partial:
            return NEED_DATA  # it has fewer bytes than were asked for before
        if self._offset < len(self._data):
            self._partial = bytearray(self._data[self._offset :])
        self._data, self._offset = b"", 0
        self._needed = size
        return NEED_DATA

    def _skip_to(self, end: int) -> None:
        """Drop everything before the offset `end`, which may lie in data that is still to come."""
        if end > len(self._data):
            self._skip = end - len(self._data)
            end = len(self._data)
        self._offset = end

    def queued(self, ahead: bytes, max_opcodes: int) -> tuple[int, list[int]]:
        """Return how many whole frames wait to be parsed, up to a bound, and the opcodes of the first ones.

        Nothing is checked: what is found is what `next_event` would make of it only if it is well-formed.

        Args:
            ahead: Bytes that come behind those that were received.
            max_opcodes: The maximum number of opcodes.
        """
        if self._partial:
            held: bytes | bytearray = self._partial
            at = 0
        else:
            held, at = self._data, self._offset
        count, opcodes = 0, list[int]()
        total, at = len(held) + len(ahead), at + self._skip
        while total - at >= _HEADER_SIZE and count < _MAX_QUEUED:
            behind = max(0, at - len(held))
            header = bytes(held[at : at + _HEADER_SIZE])
            header += ahead[behind : behind + _HEADER_SIZE - len(header)]
            at += _HEADER_SIZE + int.from_bytes(header[8:12], "big")
            if at > total:
                break
            count += 1
            if len(opcodes) < max_opcodes:
                opcodes.append(header[1])
        return count, opcodes
