"""The pages of an LMDB file, read without LMDB: so that what is damaged is found and named, where LMDB would end the process.

LMDB takes what it finds in its map for true. An assertion ends the process (SIGABRT) where a page is not of the kind that it
should be, and a wrong offset or length leads out of the map (SIGSEGV, SIGBUS). Here, each page is looked at before anything in
it is believed. `_file` has the layout of meta pages and nodes; in a page's header, its kind is followed by the end of the offsets
of its nodes, and by the end of the free space. A tree is described by 48 bytes, in a meta page or in the main database::

    0 u32 -   4 u16 flags   6 u16 depth   8 u64 branch pages   16 u64 leaf pages   24 u64 overflow pages   32 u64 entries
    40 u64 root

Pages of one commit never change while it is the last one or somebody reads it, so they can be read from the file while LMDB
writes to it. LMDB writes by system calls, which the file and the map show at the same time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import attrs

from .._errors import DamagedError

_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_META_SIZE: Final = 152
_NOWHERE: Final = (1 << 64) - 1
_HEADER = struct.Struct("<QHHHH")  # its number, -, kind, end of offsets, beginning of nodes
_HEADER_SIZE: Final = 16
_OVERFLOW_HEADER = struct.Struct("<QHHL")  # and the number of its pages
_NODE = struct.Struct("<HHHH")
_NODE_SIZE: Final = 8
_TREE = struct.Struct("<LHHQQQQQ")
_BRANCH, _LEAF, _OVERFLOW, _DIRTY = 0x01, 0x02, 0x04, 0x10
_LARGE, _SUBTREE = 0x01, 0x02
_INTEGERS: Final = 0x08
_KINDS: Final = {_BRANCH: "a branch", _LEAF: "a leaf", _OVERFLOW: "of a large value", 0x08: "a meta page"}


class DamagedPageError(DamagedError):
    """A page is not what was written.

    Attributes:
        page: Its number.
        reason: What is wrong with it.
        behind: The first key behind it in its tree, if that is known.
    """

    behind: bytes | None = None

    def __init__(self, page: int, reason: str) -> None:
        super().__init__(f"page {page} is damaged: {reason}")
        self.page = page
        self.reason = reason


class Tree(NamedTuple):
    """What is said of a tree."""

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """What a meta page says.

    Attributes:
        page_size: The size of a page in bytes.
        free: The tree of free pages.
        main: The tree of the named databases.
        last_page: The last page in use.
        transaction: The number of the transaction.
    """

    page_size: int
    free: Tree
    main: Tree
    last_page: int
    transaction: int


class Node(NamedTuple):
    """An entry of a leaf.

    Attributes:
        key: Its key.
        value: Its value, if it is in the leaf.
        size: The bytes of the value.
        page: The first page of a large value, or 0.
        is_tree: Whether the value describes a tree.
    """

    key: bytes
    value: bytes
    size: int
    page: int
    is_tree: bool


@attrs.frozen
class Leaf:
    """A leaf page, or one that can't be read.

    Attributes:
        page: Its number.
        nodes: Its entries, in the order of their keys.
        error: Why it, or a branch above, can't be read.
        start: All keys in it are this one or behind it.
        end: All keys in it are before this one; None for no such bound.
    """

    page: int
    nodes: list[Node]
    error: DamagedPageError | None
    start: bytes
    end: bytes | None


def parse_meta(data: bytes) -> Meta | None:
    """Return what a meta page says; None if it is none."""
    if len(data) < _META_SIZE or struct.unpack_from("<II", data, 16) != (_MAGIC, _VERSION):
        return None
    free, main = Tree(*_TREE.unpack_from(data, 40)), Tree(*_TREE.unpack_from(data, 88))
    if free.pad not in (1 << bits for bits in range(9, 17)):
        return None
    return Meta(free.pad, free, main, *struct.unpack_from("<QQ", data, 136))


def read_metas(descriptor: int) -> list[Meta]:
    """Return what the meta pages of a file say, the last transaction first. One that is damaged is left out.

    Raises:
        OSError: The file can't be read.
    """
    first = parse_meta(os.pread(descriptor, _META_SIZE, 0))
    sizes = [first.page_size] if first is not None else [1 << bits for bits in range(9, 17)]
    second = next((meta for size in sizes if (meta := parse_meta(os.pread(descriptor, _META_SIZE, size))) is not None), None)
    return sorted((meta for meta in (first, second) if meta is not None), key=lambda meta: -meta.transaction)


class Pages:
    """The pages of one commit.

    Args:
        descriptor: The file.
        meta: The commit.
        visit: Called with the number of each page that is read, and how many pages there are in a row.
    """

    def __init__(self, descriptor: int, meta: Meta, visit: Callable[[int, int], object] = lambda page, count: None) -> None:
        self._descriptor = descriptor
        self._size = meta.page_size
        self._last = meta.last_page
        self._visit = visit

    def _read(self, number: int, count: int = 1) -> bytes:
        if not 2 <= number <= number + count - 1 <= self._last:
            raise DamagedPageError(number, f"no page in use has this number: they are 2 to {self._last}")
        self._visit(number, count)
        data = os.pread(self._descriptor, self._size * count, self._size * number)
        if len(data) < self._size * count:
            raise DamagedPageError(number, "the file ends before it")
        return data

    def _offsets(self, number: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
        """Return a page, and the offsets of its nodes.

        Raises:
            DamagedPageError: It can't be such a page.
        """
        data = self._read(number)
        found, _, kinds, lower, upper = _HEADER.unpack_from(data)
        if found != number:
            raise DamagedPageError(number, "it is empty" if not any(data) else f"it says that it is page {found}")
        kinds &= ~_DIRTY
        if kinds != kind:
            raise DamagedPageError(number, f"it is {_KINDS.get(kinds, 'of no known kind')}, where {_KINDS[kind]} should be")
        count = (lower - _HEADER_SIZE) // 2
        if lower & 1 or not _HEADER_SIZE < lower <= upper <= self._size:
            raise DamagedPageError(number, "the bounds of what is in it are wrong")
        offsets = struct.unpack_from(f"<{count}H", data, _HEADER_SIZE)
        if min(offsets) < upper or max(offsets) + _NODE_SIZE > self._size or len(set(offsets)) != count:
            raise DamagedPageError(number, "the offsets of its entries are wrong")
        return data, offsets

    def branch(self, number: int) -> list[tuple[bytes, int]]:
        """Return the keys and the numbers of the pages below a branch. The first key means nothing.

        Raises:
            DamagedPageError: It is no such page.
        """
        data, offsets = self._offsets(number, _BRANCH)
        if len(offsets) < 2:
            raise DamagedPageError(number, "a branch has less than two entries")
        return self._below(number, data, offsets)

    def _below(self, number: int, data: bytes, offsets: tuple[int, ...]) -> list[tuple[bytes, int]]:
        below = []
        for offset in offsets:
            low, middle, high, key_size = _NODE.unpack_from(data, offset)
            end = offset + _NODE_SIZE + key_size
            if end > self._size:
                raise DamagedPageError(number, "a key is longer than the page")
            below.append((data[offset + _NODE_SIZE : end], low | middle << 16 | high << 32))
        return below

    def leaf(self, number: int) -> list[Node]:
        """Return the entries of a leaf.

        Raises:
            DamagedPageError: It is no such page.
        """
        data, offsets = self._offsets(number, _LEAF)
        return self._nodes(number, data, offsets)

    def _nodes(self, number: int, data: bytes, offsets: tuple[int, ...]) -> list[Node]:
        nodes = []
        size, last = self._size, self._last
        for offset in offsets:
            low, high, flags, key_size = _NODE.unpack_from(data, offset)
            start = offset + _NODE_SIZE + key_size
            length = low | high << 16
            large = flags & _LARGE
            if flags & ~(_LARGE | _SUBTREE) or start + (8 if large else length) > size:
                raise DamagedPageError(number, "an entry is longer than the page")
            page = 0
            if large:
                (page,) = struct.unpack_from("<Q", data, start)
                if not 2 <= page <= page + (length + _HEADER_SIZE - 1) // size <= last:
                    raise DamagedPageError(number, f"an entry is in page {page}, and no page in use has this number")
            key = data[offset + _NODE_SIZE : start]
            nodes.append(Node(key, b"" if large else data[start : start + length], length, page, bool(flags & _SUBTREE)))
        return nodes

    def value(self, node: Node) -> bytes:
        """Return the value of an entry.

        Raises:
            DamagedPageError: A page of it is damaged.
        """
        if not node.page:
            return node.value
        count = (node.size + _HEADER_SIZE - 1) // self._size + 1
        data = self._read(node.page, count)
        number, _, kind, pages = _OVERFLOW_HEADER.unpack_from(data)
        if number != node.page or kind & ~_DIRTY != _OVERFLOW or pages != count:
            raise DamagedPageError(node.page, f"it is not the first of {count} pages of a large value")
        return data[_HEADER_SIZE : _HEADER_SIZE + node.size]

    def leaves(self, tree: Tree, start: bytes = b"") -> Iterator[Leaf]:
        """Yield the leaves of a tree in order, from the one on in which a key would be.

        What can't be read is a leaf with an error, and then comes what is behind it.
        """
        if tree.root == _NOWHERE:
            return
        below: list[tuple[int, int, bytes, bytes | None]] = [(tree.root, 1, b"", None)]
        while below:
            number, depth, low, high = below.pop()
            try:
                if depth > tree.depth:
                    raise DamagedPageError(number, f"it is {depth} pages below the root, and its tree is {tree.depth} pages deep")
                if depth == tree.depth:
                    nodes = self.leaf(number)
                    _check_order(number, [_ordered(tree, node.key) for node in nodes], low, high)
                    yield Leaf(number, nodes, None, low, high)
                    continue
                pages = self.branch(number)
                keys = [_ordered(tree, key) for key, _ in pages[1:]]
                _check_order(number, keys, low, high)
            except DamagedPageError as error:
                yield Leaf(number, [], error, low, high)
                continue
            bounds = [low, *keys, high]
            for index in range(len(pages) - 1, -1, -1):
                end = bounds[index + 1]
                if end is None or end > start:
                    lowest = bounds[index]
                    assert lowest is not None
                    below.append((pages[index][1], depth + 1, lowest, end))


def _ordered(tree: Tree, key: bytes) -> bytes:
    """Return a key as its tree compares it: the numbers of transactions are little-endian."""
    return key[::-1] if tree.flags & _INTEGERS else key


def _check_order(number: int, keys: list[bytes], low: bytes, high: bytes | None) -> None:
    previous = None
    for key in keys:
        if previous is not None and key <= previous:
            raise DamagedPageError(number, f"its keys are not in order: {key!r} is behind {previous!r}")
        previous = key
    if keys and (keys[0] < low or (high is not None and keys[-1] >= high)):
        wrong = keys[0] if keys[0] < low else keys[-1]
        raise DamagedPageError(number, f"the key {wrong!r} does not belong into it")


def parse_tree(node: Node, page: int) -> Tree:
    """Return the tree that an entry of the main database describes.

    Raises:
        DamagedPageError: It describes none.
    """
    if not node.is_tree or len(node.value) != _TREE.size:
        raise DamagedPageError(page, f"the entry {node.key!r} does not describe a database")
    return Tree(*_TREE.unpack(node.value))
