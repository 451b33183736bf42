"""How items and states are laid out in LMDB.

An item is stored as::

    byte   0        datatype
           1-4      flags
           5-12     expiry, Unix seconds
           13-20    CAS
           21-28    sequence number
           29-      value

all big-endian. If the highest bit of the datatype is set, the value is preceded by its extended attributes: their length u32, and
a JSON object.
"""

from __future__ import annotations

import struct

from .._operations import Item
from .._reading import EXTENDED, pack_extended, split_extended

_RECORD = struct.Struct(">BLQQQ")
RECORD_SIZE = _RECORD.size
unpack_record = _RECORD.unpack_from
unpack_shown = struct.Struct(">BLQQ").unpack_from  # without the sequence number
# The state: sequence number, CAS, and the time of a flush.
STATE = struct.Struct(">QQd")
STATE_KEY = b"state"
# A space: items and bytes.
SPACE = struct.Struct(">QQ")
# The keys in the index of expiries begin with the expiry, so that they are in its order.
EXPIRY = struct.Struct(">Q")
# The beginning of the keys of spaces, and of what is remembered, in the database for all that is no item.
SPACE_KEY = b"space:"
MEMORY_KEY = b"memory:"


def item_of(record: bytes) -> Item:
    """Return the item that is stored as a record."""
    datatype, flags, expiry, cas, seqno = unpack_record(record)
    if datatype < EXTENDED:
        return Item(record[RECORD_SIZE:], flags, expiry, datatype, cas, seqno)
    xattrs, value = split_extended(record, RECORD_SIZE)
    return Item(value, flags, expiry, datatype & ~EXTENDED, cas, seqno, xattrs)


def record_of(item: Item) -> bytes:
    """Return the record that an item is stored as."""
    value, flags, expiry, datatype, cas, seqno, xattrs = item
    if xattrs:
        value, datatype = pack_extended(xattrs, value), datatype | EXTENDED
    return _RECORD.pack(datatype, flags, expiry, cas, seqno) + value
