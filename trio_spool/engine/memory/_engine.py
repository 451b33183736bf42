"""An engine in memory: a dict, with the interface of an engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from .._interface import EngineOptions
from .._operations import Entry
from .._reading import Reader, Snapshot
from .._single_writer import SingleWriterEngine
from .._statistics import EngineStatistics
from .._tombstones import is_tombstone
from ._reading import MemoryReader, MemorySnapshot, in_order
from ._ring import MemoryRing
from ._storage import MemoryStorage


class MemoryEngine(SingleWriterEngine):
    """An engine whose items are lost when it is closed.

    Args:
        options: The options of the engine. Those about files are ignored.

    Attributes:
        storage: The items.
    """

    kind = "memory"

    def __init__(self, options: EngineOptions | None = None) -> None:
        options = options if options is not None else EngineOptions()
        self.identity = str(uuid.uuid4())  # another store never holds what this one did
        self.storage = MemoryStorage()
        super().__init__(self.storage, options, ring=MemoryRing(self.storage))
        self.limit_size(options.bound)
        self.writer.start()

    def open_reader(self) -> Reader:
        return MemoryReader(self.storage, self._clock, self.writer.flushed)

    def _open_snapshot(self, keys_only: bool, xattrs: bool, now: float, flushed: bool) -> Snapshot:
        with self.storage.lock:
            items = {} if flushed else self.storage.items.copy()
            return MemorySnapshot(self.registry, items, now, self.storage.seqno, keys_only=keys_only, xattrs=xattrs)

    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        with self.storage.lock:
            items = {} if self.writer.flushed(self._clock()) else self.storage.items.copy()
        reader = self.open_reader()
        for key in in_order(items, start):
            item = reader.get(key)
            if item is not None and not is_tombstone(key):
                value, *rest, _ = item
                yield key, Entry(len(value), *rest)

    def statistics(self) -> EngineStatistics:
        with self.storage.lock:  # not in the middle of a commit
            items = len(self.storage.items)
        return self._statistics(items=items)
