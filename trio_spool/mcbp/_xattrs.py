"""Extended attributes, as they stand before a document: see `pack_xattrs`."""

from __future__ import annotations

from ._errors import RemoteProtocolError

_LENGTH = 4  # bytes of a length, u32


def unpack_xattrs(value: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Split a value whose datatype says that it begins with extended attributes.

    Returns:
        The names and the JSON of the attributes, and the value of the document.

    Raises:
        RemoteProtocolError: The value does not begin with attributes.
    """
    end = _read_length(value, 0, len(value))
    end += _LENGTH
    if end > len(value):
        raise RemoteProtocolError("the extended attributes are longer than the value")
    found = []
    offset = _LENGTH
    while offset < end:
        size = _read_length(value, offset, end)
        offset += _LENGTH
        pair = value[offset : offset + size]
        name, separator, text = pair.partition(b"\0")
        if offset + size > end or not separator or not name or not text.endswith(b"\0"):
            raise RemoteProtocolError("an extended attribute is cut off")
        found.append((name, text[:-1]))
        offset += size
    return found, value[end:]


def _read_length(value: bytes, offset: int, end: int) -> int:
    if end - offset < _LENGTH:
        raise RemoteProtocolError("the length of extended attributes is cut off")
    return int.from_bytes(value[offset : offset + _LENGTH], "big")
