"""Looking at pages before LMDB walks over them.

To look for a key, LMDB searches from the root, and reports a page that is not what it should be. To go from one page to the next,
it does not look: an assertion ends the process. So before something walks over a tree that is in use, the headers of the pages on
its way are looked at here. That takes 2 to 3 µs for each page, a tenth of what reading the records in it takes (measured).

What is inside of a page is not looked at: its records have checksums, and to look at each entry would take longer than reading it.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import lmdb

from ._pages import DamagedPageError, Meta, Pages, Tree, parse_tree, read_metas

_HEADER = struct.Struct("<QHHHH")
_HEADER_SIZE = 16
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _DIRTY = 0x01, 0x02, 0x10
_NOWHERE = (1 << 64) - 1
# Transactions that are begun to find one whose meta page is still there. Picked, not measured.
PROBE_TRIES = 10


class TreeProbe:
    """The leaves of a tree, as far as they have been looked at. One thread at a time uses it.

    Args:
        descriptor: The file.
        meta: The commit, which somebody reads.
        tree: The tree.
    """

    def __init__(self, descriptor: int, meta: Meta, tree: Tree) -> None:
        self._descriptor = descriptor
        self._meta = meta
        self._tree = tree
        self._leaves: Iterator[tuple[bytes, int, int]] = iter(())
        self._ahead: deque[tuple[bytes, int, int]] = deque()  # first key, page and entries of those that are not passed yet
        self._error: DamagedPageError | None = None
        self._last: bytes | None = None

    def look_ahead(self, start: bytes, records: int) -> bytes | None:
        """Look at the pages that reading some records from a key on will meet.

        Returns:
            The last key that can be read, behind which a damaged page begins; None if there is none so near.

        Raises:
            DamagedPageError: No record can be read: the page of the first one is damaged.
        """
        ahead = self._ahead
        if not ahead or start < ahead[0][0]:
            ahead.clear()
            self._leaves, self._error, self._last = self._walk(start), None, None
        while len(ahead) > 1 and ahead[1][0] <= start:
            ahead.popleft()
        count = sum(entries for _, _, entries in ahead) - (ahead[0][2] if ahead else 0)  # the first may be behind the start
        while count <= records and self._error is None:
            try:
                leaf = next(self._leaves, None)
            except DamagedPageError as error:
                self._error = error
                self._last = self._last_key(ahead[-1][1]) if ahead else None
                break
            if leaf is None:
                return None
            if ahead:
                count += leaf[2]
            ahead.append(leaf)
        if self._error is not None and count <= records:
            if self._last is None or self._last < start:
                raise self._error
            return self._last
        return None

    def entries_per_page(self) -> float:
        """Return how many entries the pages have on average that were looked at ahead."""
        ahead = self._ahead
        return sum(entries for _, _, entries in ahead) / len(ahead) if ahead else 0.0

    def look_at_all(self) -> None:
        """Look at all pages.

        Raises:
            DamagedPageError: One is damaged.
        """
        for _ in self._walk(b""):
            pass

    def _last_key(self, page: int) -> bytes:
        return Pages(self._descriptor, self._meta).leaf(page)[-1].key

    def _walk(self, start: bytes) -> Iterator[tuple[bytes, int, int]]:
        """Yield the first key, the page and the number of entries of each leaf, from that of a key on."""
        if self._tree.root == _NOWHERE:
            return
        below: list[tuple[bytes, int, int]] = [(b"", self._tree.root, 1)]
        depth = self._tree.depth
        while below:
            low, number, level = below.pop()
            try:
                data, offsets = self._page(number, _LEAF if level == depth else _BRANCH)
            except DamagedPageError as error:
                error.behind = below[-1][0] if below else None
                raise
            if level == depth:
                yield low, number, len(offsets)
                continue
            first = len(offsets) - 1
            for index in range(first, -1, -1):
                low_, middle, high, key_size = _NODE.unpack_from(data, offsets[index])
                key = data[offsets[index] + 8 : offsets[index] + 8 + key_size] if index else low
                below.append((key, low_ | middle << 16 | high << 32, level + 1))
                if key <= start:
                    break

    def _page(self, number: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
        """Return a page and the offsets of its entries.

        Raises:
            DamagedPageError: Its header is not that of such a page.
        """
        size = self._meta.page_size
        if not 2 <= number <= self._meta.last_page:
            raise DamagedPageError(number, "no page in use has this number")
        data = os.pread(self._descriptor, size, number * size)
        if len(data) == size:
            found, _, kinds, lower, upper = _HEADER.unpack_from(data)
            if found == number and kinds & ~_DIRTY == kind and _HEADER_SIZE < lower <= upper <= size and not lower & 1:
                offsets = struct.unpack_from(f"<{(lower - _HEADER_SIZE) // 2}H", data, _HEADER_SIZE)
                if min(offsets) >= upper and max(offsets) + 8 <= size:
                    return data, offsets
        pages = Pages(self._descriptor, self._meta)
        (pages.leaf if kind == _LEAF else pages.branch)(number)  # says what is wrong
        raise DamagedPageError(number, "it is no leaf" if kind == _LEAF else "it is no branch")


def probe_database(descriptor: int, transaction: int, name: bytes) -> TreeProbe | None:
    """Return a probe of a named database, as of a transaction that somebody reads.

    Returns:
        None if the meta pages are of later transactions by now, or if there is no such database.

    Raises:
        DamagedPageError: The list of databases is damaged.
    """
    for meta in read_metas(descriptor):
        if meta.transaction == transaction:
            for leaf in Pages(descriptor, meta).leaves(meta.main):
                if leaf.error is not None:
                    raise leaf.error
                for node in leaf.nodes:
                    if node.key == name:
                        return TreeProbe(descriptor, meta, parse_tree(node, leaf.page))
    return None


class Readable(Protocol):
    """What is probed: an `LmdbStorage`."""

    def probe(self, transaction: int, name: bytes = b"items") -> TreeProbe | None:
        """Return a probe, or None if there were two commits since the transaction began."""


class Begins(Protocol):
    """What begins transactions: a `Reading`."""

    def begin(self, *, buffers: bool = False) -> lmdb.Transaction[Any]:
        """Begin one."""

    def end(self) -> None:
        """End it."""


def begin_probed(storage: Readable, reading: Begins, *, buffers: bool = False) -> tuple[lmdb.Transaction[Any], TreeProbe | None]:
    """Begin a transaction of a reading, whose lock is held, with a probe of the items.

    The meta page of the transaction is gone when there were two commits since it began, and then another one is begun.

    Returns:
        The transaction, and the probe; None instead of it if there were always two commits.

    Raises:
        EngineClosedError: The environment is closed.
        DamagedError: The list of databases is damaged.
        lmdb.Error: LMDB failed.
    """
    for _ in range(PROBE_TRIES):
        transaction = reading.begin(buffers=buffers)
        probe = storage.probe(transaction.id())
        if probe is not None:
            return transaction, probe
        reading.end()
    return reading.begin(buffers=buffers), None


def until(cursor: Iterable[tuple[Any, Any]], last: bytes | None) -> Iterable[tuple[Any, Any]]:
    """Return what a cursor yields up to a key, behind which it must not go; all of it if there is no such key."""
    return cursor if last is None else _until(cursor, last)


def _until(cursor: Iterable[tuple[Any, Any]], last: bytes) -> Iterator[tuple[Any, Any]]:
    for pair in cursor:
        yield pair
        if bytes(pair[0]) >= last:
            return


def probe_all(descriptor: int, transaction: int) -> None:
    """Look at all pages of the trees of a commit, as LMDB is about to copy them.

    Raises:
        DamagedPageError: One is damaged.
    """
    for name in (b"items", b"expiry", b"meta"):
        probe = probe_database(descriptor, transaction, name)
        if probe is not None:
            probe.look_at_all()
