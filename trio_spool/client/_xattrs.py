"""Extended attributes of a scan's documents."""

from __future__ import annotations

from ..mcbp import DataType, Document, RemoteProtocolError
from ..mcbp import unpack_xattrs as unpack
from ._errors import ConnectionLostError


def unpack_xattrs(document: Document) -> tuple[list[tuple[bytes, bytes]], Document]:
    """Split a document of a scan with `include_xattrs`.

    Returns:
        The names and the JSON of its extended attributes, and the document without them.

    Raises:
        ConnectionLostError: The server sent something that can't be attributes.
    """
    if not document.datatype & DataType.XATTR:
        return [], document
    try:
        xattrs, value = unpack(document.value)
    except RemoteProtocolError as exc:
        raise ConnectionLostError(f"the server sent malformed attributes of {document.key!r:.100}: {exc}") from exc
    return xattrs, document._replace(value=value, datatype=document.datatype & ~DataType.XATTR)
