"""Checking a database that nobody uses: every page, every record, and whether they agree with each other.

It is read without LMDB, so nothing that is damaged can end the process. Whether LMDB reads the same is asked in a process of its
own, once nothing damaged was found: see `read_in_child`.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from ..._files import explain
from .._directory import MARKER
from .._errors import DamagedError, DataDirectoryError
from .._tombstones import is_tombstone
from ._database import DATABASE
from ._pages import DamagedPageError, Leaf, Meta, Node, Pages, Tree, parse_meta, parse_tree, read_metas
from ._records import (
    ALL_CHECKED,
    CHECKED,
    CHECKED_MEMORY_KEY,
    EXPIRY,
    SPACE_KEY,
    STATE_KEY,
    item_of,
    unpack_memory,
    unpack_space,
    unpack_state,
)
from ._session import Checkpoint

# The messages that are kept. Beyond, they are counted. Picked: nobody reads more.
MAX_KEPT: Final = 1000
# Seconds for which LMDB may read a database: an hour for each 100 GB or so. Picked, not measured.
_PATIENCE: Final = 24 * 3600.0


@attrs.define
class Report:
    """What a check has found.

    Attributes:
        items: The number of items that were read, including damaged and expired ones.
        tombstones: The number of tombstones, likewise.
        bytes: The bytes of the keys and values of both.
        unchecked: The number of items without a checksum.
        pages: The pages that are in use.
        free_pages: The pages that are free.
        last_page: The last page that may be in use.
        damage: What is damaged, one line for each, up to `MAX_KEPT`.
        damaged: How much that is.
    """

    items: int = 0
    tombstones: int = 0
    bytes: int = 0
    unchecked: int = 0
    pages: int = 0
    free_pages: int = 0
    last_page: int = 0
    damage: list[str] = attrs.field(factory=list)
    damaged: int = 0

    def add(self, line: str) -> None:
        """Note damage."""
        self.damaged += 1
        if len(self.damage) < MAX_KEPT:
            self.damage.append(line)


def check_store(
    path: Path, checkpoint: Checkpoint | None = None, progress: Callable[[int, int], object] = lambda done, total: None
) -> Report:
    """Check the database of a data directory, which nobody uses, without changing anything.

    Args:
        path: The data directory.
        checkpoint: What the next start will go back to.
        progress: Called with the number of pages that have been read, and that there are. What it raises ends the check.

    Raises:
        DataDirectoryError: There is no database, or it can't be read.
    """
    database = path / DATABASE
    if not (path / MARKER).exists():
        raise DataDirectoryError(f"{path} is not a data directory of trio-spool: it has no {MARKER}; name another one")
    try:
        with database.open("rb", buffering=0) as file:
            metas = read_metas(file.fileno())
            if checkpoint is not None:
                known = [meta for meta in map(parse_meta, checkpoint.metas) if meta is not None]
                metas = sorted(known, key=lambda meta: -meta.transaction)
            return _Check(file.fileno(), metas, os.fstat(file.fileno()).st_size, progress).run()
    except FileNotFoundError:
        raise DataDirectoryError(f"{database} is missing; restore a backup") from None
    except OSError as exc:
        raise DataDirectoryError(f"can't read {database}: {explain(exc)}; check who owns it, and the disk") from exc


class _Check:
    """One check."""

    def __init__(self, descriptor: int, metas: list[Meta], length: int, progress: Callable[[int, int], object]) -> None:
        self._descriptor = descriptor
        self._metas = metas
        self._length = length
        self._progress = progress
        self._report = Report()
        self._seen = bytearray()
        self._all_checked = False

    def run(self) -> Report:
        """Do it."""
        report = self._report
        if not self._metas:
            report.add("both meta pages are damaged: nothing can be read")
            return report
        if len(self._metas) < 2:
            report.add("one of the two meta pages is damaged: what is read may be the commit before the last one")
        meta = self._metas[0]
        report.last_page = meta.last_page
        if not 1 <= meta.last_page <= 1 << 48:
            report.add(f"the meta page of transaction {meta.transaction} is damaged: it says that page {meta.last_page} is in use")
            return report
        self._size = meta.page_size
        self._seen = bytearray(meta.last_page + 1)
        self._seen[:2] = b"\1\1"
        self._pages = Pages(self._descriptor, meta, self._visit)
        trees = self._named_trees(meta.main)
        self._check_beside(trees.get(b"meta"))
        self._check_items(trees.get(b"items"), trees.get(b"expiry"))
        report.pages = sum(self._seen)
        self._check_free(meta.free)
        return report

    def _visit(self, page: int, count: int) -> None:
        for number in range(page, page + count):
            if self._seen[number]:
                raise DamagedPageError(number, "it belongs to two places")
            self._seen[number] = 1
        if not page % 256:
            self._progress(page, len(self._seen))

    def _bad(self, name: str, error: DamagedPageError, start: bytes = b"", end: bytes | None = None) -> None:
        where = f"page {error.page} (byte {error.page * self._size} of {DATABASE}), of {name}: {error.reason}"
        if start or end is not None:
            where += f"; it has the keys from {start!r} up to {'the last one' if end is None else repr(end)}"
        self._report.add(where)

    def _walk(self, name: str, tree: Tree, take: Callable[[Leaf, Node, bytes], None]) -> bool:
        """Look at all of a tree, give each entry with its value to a function, and return whether nothing is damaged."""
        before = self._report.damaged
        leaves = entries = 0
        for leaf in self._pages.leaves(tree):
            if leaf.error is not None:
                self._bad(name, leaf.error, leaf.start, leaf.end)
                continue
            leaves += 1
            entries += len(leaf.nodes)
            for node in leaf.nodes:
                try:
                    take(leaf, node, self._pages.value(node))
                except DamagedPageError as error:
                    self._bad(name, error, node.key, node.key + b"\0")
                except DamagedError as error:
                    self._report.add(f"{error} (page {leaf.page})")
                except struct.error:
                    self._report.add(f"the entry {node.key!r} of {name} is damaged: it has {node.size} bytes (page {leaf.page})")
        if self._report.damaged == before and (leaves, entries) != (tree.leaf_pages, tree.entries):
            self._report.add(
                f"{name} should have {tree.entries} entries in {tree.leaf_pages} leaf pages, and has {entries} in {leaves}"
            )
        return self._report.damaged == before

    def _named_trees(self, main: Tree) -> dict[bytes, Tree]:
        trees: dict[bytes, Tree] = {}

        def take(leaf: Leaf, node: Node, value: bytes) -> None:
            if node.is_tree:
                trees[node.key] = parse_tree(node, leaf.page)

        self._walk("the list of databases", main, take)
        for name in (b"items", b"expiry", b"meta"):
            if name not in trees:
                self._report.add(f"the database {name.decode()!r} is missing")
        return trees

    def _check_beside(self, tree: Tree | None) -> None:
        """Check the state, what spaces hold, and what is remembered."""
        self._spaces = [0, 0]

        def take(leaf: Leaf, node: Node, value: bytes) -> None:
            if node.key == STATE_KEY:
                unpack_state(value)
            elif node.key.startswith(SPACE_KEY):
                items, size = unpack_space(node.key, value)
                self._spaces[0] += items
                self._spaces[1] += size
            elif node.key.startswith(CHECKED_MEMORY_KEY):
                unpack_memory(node.key, value)
                self._all_checked |= node.key == CHECKED_MEMORY_KEY + ALL_CHECKED

        if tree is not None:
            self._walk("what is stored beside the items", tree, take)

    def _check_items(self, items: Tree | None, by_expiry: Tree | None) -> None:
        report = self._report
        expiring = [0, 0]  # how many there are, and a sum that tells whether they are the same ones

        def take_item(leaf: Leaf, node: Node, value: bytes) -> None:
            if is_tombstone(node.key):
                report.tombstones += 1
            else:
                report.items += 1
            try:
                item = item_of(node.key, value, True, self._all_checked)
            finally:
                report.bytes += len(node.key) + len(value)
            report.unchecked += not value[0] & CHECKED
            report.bytes += len(item.value) + len(item.xattrs) - len(value)
            if item.expiry:
                expiring[0] += 1
                expiring[1] ^= hash((item.expiry, node.key))

        def take_entry(leaf: Leaf, node: Node, value: bytes) -> None:
            expiring[0] -= 1
            expiring[1] ^= hash((EXPIRY.unpack_from(node.key)[0], node.key[EXPIRY.size :]))

        sound = items is not None and self._walk("the items", items, take_item)
        if by_expiry is not None and self._walk("the index of expiries", by_expiry, take_entry) and sound and any(expiring):
            report.add("the index of expiries does not agree with the items: some may not be removed when they expire")
        stored = report.items + report.tombstones
        if sound and self._spaces != [stored, report.bytes]:
            report.add(f"{self._spaces[0]} items of {self._spaces[1]} bytes are counted, and there are {stored} of {report.bytes}")

    def _check_free(self, tree: Tree) -> None:
        free = bytearray(len(self._seen))
        sound = not self._report.damaged

        def take(leaf: Leaf, node: Node, value: bytes) -> None:
            (count,) = struct.unpack_from("<Q", value)
            for number in struct.unpack_from(f"<{count}Q", value, 8):
                if not 2 <= number < len(free):
                    raise DamagedError(f"the list of free pages is damaged: it has a page {number}")
                if free[number] or self._seen[number]:
                    raise DamagedError(f"page {number} is free, and in use as well")
                free[number] = 1

        if sound:  # else pages that could not be reached would seem to be unused
            self._walk("the list of free pages", tree, take)
            self._report.pages = sum(self._seen)
            self._report.free_pages = sum(free)


def read_in_child(path: Path) -> str | None:
    """Let LMDB read all of a database in a process of its own, which it may end. Return what went wrong, or None."""
    script = "import sys; from trio_spool.engine.lmdb._checking import read_by_lmdb; read_by_lmdb(sys.argv[1])"
    child = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return f"LMDB can't read it: the process that tried was ended by signal {-child.returncode}"
    return f"LMDB can't read it: {child.stderr.strip().splitlines()[-1] if child.stderr.strip() else 'without a word'}"


def read_by_lmdb(path: str) -> None:
    """Read every record of a database by LMDB."""
    import lmdb

    with lmdb.open(path, readonly=True, lock=False, max_dbs=8) as env:
        databases = [env.open_db(name, create=False) for name in (b"items", b"expiry", b"meta")]
        with env.begin(buffers=True) as transaction:
            for database in databases:
                count = sum(1 for _ in transaction.cursor(database))
                if count != transaction.stat(database)["entries"]:
                    raise SystemExit(f"{count} entries instead of {transaction.stat(database)['entries']}")
