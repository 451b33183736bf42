"""The interfaces for reading: single items, and all items at one moment."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from ._operations import Chunk, Item, Record, Shown
from ._tombstones import TOMBSTONE_PREFIX, Tombstone

# The maximum that one read of a snapshot, or one step of a walk, returns: it bounds how long a lock is held. Picked, not measured.
CHUNK_RECORDS = 512
CHUNK_BYTES = 64 * 1024
# A bit in the datatype of a record: the value is preceded by extended attributes, since the snapshot was opened with `xattrs`. The
# protocol has no use for this bit. LMDB's records use it as well.
EXTENDED = 0x80
_LENGTH = struct.Struct(">L")


def pack_extended(xattrs: bytes, value: bytes) -> bytes:
    """Put extended attributes before a value: their length (u32, big-endian), then the attributes."""
    return _LENGTH.pack(len(xattrs)) + xattrs + value


def split_extended(packed: bytes | memoryview, start: int = 0) -> tuple[bytes, bytes]:
    """Return the extended attributes and the value that `pack_extended` has packed, beginning at `start`."""
    end = start + _LENGTH.size + _LENGTH.unpack_from(packed, start)[0]
    return bytes(packed[start + _LENGTH.size : end]), bytes(packed[end:])


class Reader(ABC):
    """Point reads, for one thread at a time.

    If the engine is not `local`, every method may block.

    Attributes:
        used: Called with the keys of each read, if they count as used: see `Engine.count_uses`.
    """

    used: Callable[[Sequence[bytes]], object] | None = None

    @abstractmethod
    def get(self, key: bytes) -> Item | None:
        """Return the live item under a key, as of the first `get` since the last `release`; None if there is none.

        Raises:
            EngineClosedError: The engine is closed.
            StorageError: The store failed.
        """

    def find(self, key: bytes) -> Item | None:
        """Return the live item under a key, or else its `Tombstone`; None if there is neither.

        Raises:
            EngineClosedError: The engine is closed.
            StorageError: The store failed.
        """
        item = self.get(key)
        if item is None and (buried := self.get(TOMBSTONE_PREFIX + key)) is not None:
            return Tombstone(*buried)
        return item

    @abstractmethod
    def get_many(self, keys: Sequence[bytes], max_bytes: int) -> list[Shown | None]:
        """Do `get` for several keys, and stop once the values exceed `max_bytes`.

        Returns:
            The part of each item that a reply carries, for the first key and as many more as were read.

        Raises:
            EngineClosedError: The engine is closed.
            StorageError: The store failed.
        """

    @abstractmethod
    def release(self) -> None:
        """Let the next `get` see what has been committed meanwhile. To be called as soon as a group of reads is done."""

    @abstractmethod
    def close(self) -> None:
        """Release what the reader holds."""


class Snapshot(AbstractContextManager["Snapshot"]):
    """All items at one moment. Any thread may use it, but only one at a time; `close` may be called at any time."""

    @property
    @abstractmethod
    def seqno(self) -> int:
        """The sequence number of the last mutation in it."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of keys in it, including those of tombstones, and expired ones that had not been removed yet."""

    @property
    def ended(self) -> bool:
        """Whether it can't be read any more: it was closed, or its engine has ended it. An engine may leave this to `read`."""
        return False

    @abstractmethod
    def read(self, start: bytes, end: bytes | None, *, max_records: int, max_bytes: int) -> Chunk:
        """Return live records from the key `start` on, without tombstones. Blocks, for a bounded time.

        So it may return fewer records than were asked for, even none, before the end is reached.

        Args:
            start: The first key.
            end: The key before which to stop; None for no end.
            max_records: The maximum number of records.
            max_bytes: The size at which to stop; the last record may exceed it.

        Raises:
            SnapshotEndedError: The snapshot ended in the meantime.
            StorageError: The store failed.
        """

    def records(self, start: bytes = b"", end: bytes | None = None) -> Iterator[Record]:
        """Yield live records in the order of their keys, from `start` up to but without `end`. Blocks.

        Raises:
            SnapshotEndedError: The snapshot ended in the meantime.
        """
        position: bytes | None = start
        while position is not None:
            records, position, _ = self.read(position, end, max_records=CHUNK_RECORDS, max_bytes=CHUNK_BYTES)
            yield from records

    @abstractmethod
    def close(self) -> None:
        """End the snapshot. Harmless if it was called before.

        An event loop may call this. Where the engine is `local`, a read that is going on is waited for, which takes no longer than
        that one call. An engine that is not local must not wait: a read that is going on then releases the snapshot itself.
        """

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()
