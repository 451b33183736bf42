"""How items and states are laid out in LMDB.

An item is stored as::

    byte   0        datatype, and two bits of ours: `EXTENDED` and `CHECKED`
           1-4      flags
           5-12     expiry, Unix seconds
           13-20    CAS
           21-28    sequence number
           29-      value
           last 4   checksum, if `CHECKED`

all big-endian but the checksum. If `EXTENDED` is set, the value is preceded by its extended attributes: their length u32, and a
JSON object.

The checksum is such that the CRC32-C of the key and the whole record is 0: the CRC32-C of all that is before it, XOR a constant,
little-endian. One call verifies a record. And since 0 is also where a CRC begins, one call verifies any number of keys and records
that are joined, as scans and runs of reads do: verifying each on its own would cost a third of a scan's speed, and this costs a
tenth. The key belongs to it since a record under the wrong key is as wrong as a wrong value.

Format 2 of data directories had no checksums. A directory of that format is swept in the background, and once every record has a
checksum, the database remembers that: from then on, a record without one is damaged, so that no flipped bit can turn a checksum
off.

The state and the spaces have a checksum of their own behind them. A database of format 2 has them without, and so shorter.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from google_crc32c import extend
from google_crc32c import value as crc32c

from .._errors import DamagedError
from .._marking import MARKS
from .._operations import Item
from .._reading import EXTENDED, pack_extended, split_extended
from .._storage import DamagedItemError

_RECORD = struct.Struct(">BLQQQ")
RECORD_SIZE = _RECORD.size
unpack_record = _RECORD.unpack_from
unpack_shown = struct.Struct(">BLQQ").unpack_from  # without the sequence number
# The expiry in a record, wherever the rest is damaged.
unpack_expiry = struct.Struct(">5xQ").unpack_from

# The bit of the datatype that says that a record ends with a checksum.
CHECKED: Final = 0x40
# The bits of the datatype that are the protocol's, and the marks.
DATATYPES: Final = 0x3F
# Those of them that a snapshot shows.
SHOWN: Final = DATATYPES & ~MARKS
_CHECKSUM = struct.Struct("<L")
CHECKSUM_SIZE = _CHECKSUM.size
# The value in a record that has a checksum and no attributes.
VALUE = slice(RECORD_SIZE, -CHECKSUM_SIZE)
# The bytes of a record beside its value, unless it has attributes.
OVERHEAD: Final = RECORD_SIZE + CHECKSUM_SIZE
# A CRC32-C XOR this, little-endian, takes the CRC32-C of what it follows to 0. Computed: the only number of which that is true.
_TO_ZERO: Final = 0x9BE09BAB
# From this size on, in bytes, a checksum is made in two calls, which copy nothing. Below, one call on a copy is faster: measured
# with records of 160 bytes, 0.35 and 0.53 µs.
LARGE: Final = 4096

# The state: sequence number, CAS, and the time of a flush.
_STATE = struct.Struct(">QQd")
STATE_KEY = b"state"
# A space: items and bytes.
_SPACE = struct.Struct(">QQ")
# The keys in the index of expiries begin with the expiry, so that they are in its order.
EXPIRY = struct.Struct(">Q")
# The beginning of the keys of spaces, and of what is remembered, in the database for all that is no item.
SPACE_KEY = b"space:"
MEMORY_KEY = b"memory:"  # of format 2: without a checksum
CHECKED_MEMORY_KEY = b"checked:"
# The name under which is remembered that every record has a checksum. No other layer uses names that begin with a zero byte.
ALL_CHECKED = b"\0checked"


def is_intact(key: bytes, record: bytes) -> bool:
    """Return whether a record that has a checksum is what was written."""
    if len(record) < LARGE:
        return not crc32c(key + record)
    return not extend(crc32c(key), record)


def are_intact(pairs: Sequence[tuple[bytes, bytes]], size: int) -> bool:
    """Return whether records that have checksums are what was written.

    Args:
        pairs: Keys and records, as bytes or as views.
        size: About how many bytes they have.
    """
    if size < LARGE * len(pairs):
        return not crc32c(b"".join(chain.from_iterable(pairs)))
    return all(is_intact(bytes(key), bytes(record)) for key, record in pairs)


def item_of(key: bytes, record: bytes, verify: bool, all_checked: bool) -> Item:
    """Return the item that is stored as a record.

    Args:
        key: The key of the item.
        record: The record.
        verify: Whether to verify the checksum; what can be seen without is always looked at.
        all_checked: Whether every record has a checksum.

    Raises:
        DamagedItemError: The record is damaged.
    """
    try:
        datatype, flags, expiry, cas, seqno = unpack_record(record)
    except struct.error:
        raise damaged(key, record, all_checked) from None
    if datatype & CHECKED:
        if verify and (crc32c(key + record) if len(record) < LARGE else extend(crc32c(key), record)):  # `is_intact`, without a call
            raise damaged(key, record, all_checked)
        if datatype < EXTENDED:
            return Item(record[VALUE], flags, expiry, datatype & DATATYPES, cas, seqno)
        body = record[VALUE]
    elif all_checked:
        raise damaged(key, record, all_checked)
    else:
        body = record[RECORD_SIZE:]
    if datatype < EXTENDED:
        return Item(body, flags, expiry, datatype & DATATYPES, cas, seqno)
    if len(body) < 4 or int.from_bytes(body[:4], "big") > len(body) - 4:
        raise damaged(key, record, all_checked)
    xattrs, value = split_extended(body)
    return Item(value, flags, expiry, datatype & DATATYPES, cas, seqno, xattrs)


def damaged(key: bytes, record: bytes, all_checked: bool) -> DamagedItemError:
    """Return the error that says how a record is damaged."""
    if len(record) < RECORD_SIZE:
        return DamagedItemError(key, f"it has {len(record)} bytes, and must have {RECORD_SIZE} or more", Item(bytes(record)))
    datatype, flags, expiry, cas, seqno = unpack_record(record)
    overhead = RECORD_SIZE + (CHECKSUM_SIZE if datatype & CHECKED or all_checked else 0) + (4 if datatype & EXTENDED else 0)
    # The value, or what may be one, counts for as many bytes as the undamaged one did, unless it is the datatype that is damaged.
    remains = Item(bytes(max(len(record) - overhead, 0)), flags, expiry, datatype & DATATYPES, cas, seqno)
    if not datatype & CHECKED:
        reason = "it has no checksum, and every record has one" if all_checked else "its attributes are longer than it is"
    elif not is_intact(key, bytes(record)):
        reason = "its checksum is wrong"
    else:
        reason = "its attributes are longer than it is"
    return DamagedItemError(key, reason, remains)


def record_of(key: bytes, item: Item) -> bytes:
    """Return the record that an item is stored as."""
    value, flags, expiry, datatype, cas, seqno, xattrs = item
    datatype = datatype & DATATYPES | CHECKED
    if xattrs:
        value, datatype = pack_extended(xattrs, value), datatype | EXTENDED
    head = _RECORD.pack(datatype, flags, expiry, cas, seqno)
    if len(value) < LARGE:
        record = head + value
        return record + _checksum(crc32c(key + record))
    return b"".join((head, value, _checksum(extend(crc32c(key + head), value))))


def _checksum(crc: int) -> bytes:
    return _CHECKSUM.pack(crc ^ _TO_ZERO)


def with_checksum(key: bytes, record: bytes) -> bytes | None:
    """Return a record of format 2 with a checksum; None if it has one, or is damaged."""
    if len(record) < RECORD_SIZE or record[0] & CHECKED:
        return None
    record = bytes([record[0] | CHECKED]) + record[1:]
    return record + _checksum(extend(crc32c(key), record))


# What is no item


def pack_state(seqno: int, cas: int, flush_at: float) -> bytes:
    """Return a state as it is stored."""
    return _with_sum(STATE_KEY, _STATE.pack(seqno, cas, flush_at))


def unpack_state(stored: bytes) -> tuple[int, int, float]:
    """Return the sequence number, the CAS, and the time of a flush.

    Raises:
        DamagedError: The state is damaged.
    """
    seqno, cas, flush_at = _without_sum(STATE_KEY, stored, _STATE)
    return seqno, cas, flush_at


def pack_space(key: bytes, items: int, size: int) -> bytes:
    """Return what a space holds as it is stored under a key."""
    return _with_sum(key, _SPACE.pack(items, size))


def unpack_space(key: bytes, stored: bytes) -> tuple[int, int]:
    """Return the items of a space and their bytes.

    Raises:
        DamagedError: The space is damaged.
    """
    items, size = _without_sum(key, stored, _SPACE)
    return items, size


def pack_memory(key: bytes, value: bytes) -> bytes:
    """Return what is remembered under a key as it is stored."""
    return _with_sum(key, value)


def unpack_memory(key: bytes, stored: bytes) -> bytes:
    """Return what is remembered.

    Raises:
        DamagedError: It is damaged.
    """
    if crc32c(key + stored):
        raise DamagedError(f"what is stored under {key!r} is damaged: its checksum is wrong")
    return stored[:-CHECKSUM_SIZE]


def _with_sum(key: bytes, stored: bytes) -> bytes:
    return stored + _checksum(crc32c(key + stored))


def _without_sum(key: bytes, stored: bytes, layout: struct.Struct) -> tuple[Any, ...]:
    if len(stored) == layout.size:
        return layout.unpack(stored)
    if len(stored) != layout.size + CHECKSUM_SIZE or crc32c(key + stored):
        raise DamagedError(f"what is stored under {key!r} is damaged: its checksum is wrong")
    return layout.unpack_from(stored)
