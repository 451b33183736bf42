"""What LMDB does not tell about its file, read from it: the length that it must have, and how many pages wait for a reader.

LMDB maps the file, and reading behind its end kills the process (SIGBUS). So it must be known before whether the file is whole.

The file consists of pages, which are as large as those of the machine that made it. The first two are meta pages, written in turns;
the one with the greater number of a transaction counts::

    page  0 u64 its number   8 u16 -   10 u16 kind    12 u16 end of the offsets of its nodes (u16 each, from 16 on)
    meta 16 u32 magic   20 u32 version   40 u32 page size   80 u64 root of the list of free pages
        136 u64 last page in use   144 u64 transaction
    node  0 u32 size of the value, or in a branch a page's number   4 u16 flags, or the rest of that number   6 u16 size of the key
          8 the key, and the value; if it is large, the number of its first page, where it begins behind 16 bytes

The last page in use may lie behind the end of the file: pages that a transaction took there and gave back at once are free, and
were never written. So the list of free pages (transaction -> count, numbers; u64 each) is read if the file seems to be too short.
The transaction is the one that has freed them: whoever reads as of an earlier one may still need them.

All numbers are little-endian, and of 64-bit systems. On other machines, the magic number is not where it is looked for, and the
file is left to LMDB.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import attrs

_MAGIC = 0xBEEFC0DE
_VERSION = 1
_META_SIZE = 152
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))  # those that LMDB allows: 512 bytes to 64 KiB
_NOWHERE = (1 << 64) - 1
_HEADER = struct.Struct("<QHHH")
_HEADER_SIZE = 16
_NODE = struct.Struct("<IHH")
_BRANCH, _LEAF = 0x01, 0x02
_LARGE = 0x01


class UnknownFileError(Exception):
    """The file is not one of LMDB as it is known here."""


class _NoPageError(UnknownFileError):
    """A page lies behind the end of the file, or is not the page that it should be."""


@attrs.frozen
class _Meta:
    page_size: int
    free_root: int
    last_page: int
    transaction: int


class _FreeRecord(NamedTuple):
    transaction: int
    pages: int
    offset: int  # of the value, in the file
    size: int


def find_shortage(path: Path) -> tuple[int, int] | None:
    """Return the length of a file, and the length that it must have, in bytes, if the file is too short.

    Returns:
        None if the file is long enough, or is not understood.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        meta = _read_meta(file)
        if meta is None:
            return None
        needed = (meta.last_page + 1) * meta.page_size
        if length < needed:
            needed = max(2, _last_used(file, meta, length // meta.page_size) + 1) * meta.page_size
        return (length, needed) if length < needed else None


def held_bytes(path: Path, transaction: int) -> Iterator[int]:
    """Add up the pages that a reader keeps from being used again, as of the last commit.

    While the reader is open, others may write meanwhile: what it reads here is kept for the reader as well.

    Args:
        path: The file.
        transaction: The number of the reader's transaction.

    Yields:
        The bytes that were found so far, after each page of the list of free pages. A page takes 0.1 to 0.3 ms (measured).

    Raises:
        UnknownFileError: The file is not understood.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        meta = _read_meta(file)
        if meta is None:
            raise UnknownFileError
        held = 0
        for records in _free_records(file, meta):
            held += sum(record.pages for record in records if record.transaction >= transaction)
            yield held * meta.page_size


def _read_meta(file: BinaryIO) -> _Meta | None:
    first = _parse_meta(file.read(_META_SIZE))
    if first is None:
        return None
    file.seek(first.page_size)
    second = _parse_meta(file.read(_META_SIZE))
    return first if second is None or second.transaction < first.transaction else second


def _parse_meta(data: bytes) -> _Meta | None:
    if len(data) < _META_SIZE or struct.unpack_from("<II", data, 16) != (_MAGIC, _VERSION):
        return None
    (page_size,) = struct.unpack_from("<I", data, 40)
    if page_size not in _PAGE_SIZES:
        return None
    return _Meta(page_size, *struct.unpack_from("<Q", data, 80), *struct.unpack_from("<QQ", data, 136))


def _last_used(file: BinaryIO, meta: _Meta, pages: int) -> int:
    """Return the last page that is not free, or the last of the `pages` in the file, if that is greater."""
    try:
        free = {page for page in _free_pages(file, meta) if pages <= page <= meta.last_page}
    except _NoPageError:
        return meta.last_page
    last = meta.last_page
    while last in free:
        last -= 1
    return last


def _free_pages(file: BinaryIO, meta: _Meta) -> Iterator[int]:
    for record in chain.from_iterable(_free_records(file, meta)):
        if record.pages * 8 + 8 > record.size:
            raise _NoPageError
        yield from struct.unpack_from(f"<{record.pages}Q", _read(file, record.offset, record.size), 8)


def _free_records(file: BinaryIO, meta: _Meta) -> Iterator[list[_FreeRecord]]:
    """Yield where the records of the list of free pages are, for each page of the list."""
    below = [meta.free_root] if meta.free_root != _NOWHERE else []
    seen: set[int] = set()
    while below:
        number = below.pop()
        if number in seen:
            raise _NoPageError
        seen.add(number)
        page = _read(file, number * meta.page_size, meta.page_size)
        found, _, kind, end = _HEADER.unpack_from(page)
        if found != number or kind & (_BRANCH | _LEAF) not in (_BRANCH, _LEAF) or not _HEADER_SIZE <= end <= meta.page_size:
            raise _NoPageError
        offsets = [offset for (offset,) in struct.iter_unpack("<H", page[_HEADER_SIZE : end & ~1])]
        try:
            if kind & _BRANCH:
                for offset in offsets:
                    low, high, _ = _NODE.unpack_from(page, offset)
                    below.append(low | high << 32)
            else:
                yield [_free_record(file, meta, number, page, offset) for offset in offsets]
        except struct.error:
            raise _NoPageError from None


def _free_record(file: BinaryIO, meta: _Meta, number: int, page: bytes, offset: int) -> _FreeRecord:
    """Parse a node of the page with a number."""
    size, flags, key_size = _NODE.unpack_from(page, offset)
    (transaction,) = struct.unpack_from("<Q", page, offset + _NODE.size)
    value = offset + _NODE.size + key_size
    if flags & _LARGE:
        (first,) = struct.unpack_from("<Q", page, value)
        where = first * meta.page_size + _HEADER_SIZE
        return _FreeRecord(transaction, int.from_bytes(_read(file, where, 8), "little"), where, size)
    if value + size > meta.page_size:
        raise _NoPageError
    (pages,) = struct.unpack_from("<Q", page, value)
    return _FreeRecord(transaction, pages, number * meta.page_size + value, size)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset + size > os.fstat(file.fileno()).st_size:
        raise _NoPageError
    file.seek(offset)
    return file.read(size)
