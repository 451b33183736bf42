"""The interfaces for reading: single items, and all items at one moment."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from ._operations import Chunk, Item, Record, Shown

# How much is read at once of a snapshot, or by a walk.
CHUNK_RECORDS = 512
CHUNK_BYTES = 64 * 1024
# Set in the datatype of a record, where extended attributes were asked for: the value is preceded by them. LMDB's records use it
# as well.
EXTENDED = 0x80
_LENGTH = struct.Struct(">L")


def pack_extended(xattrs: bytes, value: bytes) -> bytes:
    """Put extended attributes before a value: their length u32, and they."""
    return _LENGTH.pack(len(xattrs)) + xattrs + value


def split_extended(packed: bytes | memoryview, start: int = 0) -> tuple[bytes, bytes]:
    """Return the extended attributes and the value of what `pack_extended` made, which begins at `start`."""
    end = start + _LENGTH.size + _LENGTH.unpack_from(packed, start)[0]
    return bytes(packed[start + _LENGTH.size : end]), bytes(packed[end:])


class Reader(ABC):
    """Point reads for one thread."""

    @abstractmethod
    def get(self, key: bytes) -> Item | None:
        """Return the live item under a key, as of the first `get` since the last `release`."""

    @abstractmethod
    def get_many(self, keys: Sequence[bytes], max_bytes: int) -> list[Shown | None]:
        """Do `get` for several keys: for the first, and for as many more as it takes for the values to exceed `most` bytes.

        Returns only what is sent of each item.
        """

    @abstractmethod
    def release(self) -> None:
        """Let the next `get` see what has been committed meanwhile. Call it as soon as a group of reads is done."""

    @abstractmethod
    def close(self) -> None:
        """End it."""


class Snapshot(AbstractContextManager["Snapshot"]):
    """All items at one moment. It may be used by any thread, by one at a time; `close` may be called at any time."""

    @property
    @abstractmethod
    def seqno(self) -> int:
        """The sequence number of the last mutation that it contains."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many keys it has, with those that had expired and were not yet removed."""

    @abstractmethod
    def read(self, start: bytes, end: bytes | None, *, max_records: int, max_bytes: int) -> Chunk:
        """Return live records from the key `start` on.

        Args:
            start: The first key.
            end: What comes behind the last key; None for no end.
            max_records: Return no more than this.
            max_bytes: Return no further ones once their size is so many bytes.

        It may return fewer than were asked for, even none, though the end is not reached: a call takes a bounded time.

        Raises:
            SnapshotEndedError: The snapshot ended in the meantime.
        """

    def records(self, start: bytes = b"", end: bytes | None = None) -> Iterator[Record]:
        """Yield live records in the order of the keys, from `start` up to but without `end`.

        Raises:
            SnapshotEndedError: The snapshot ended in the meantime.
        """
        position: bytes | None = start
        while position is not None:
            records, position, _ = self.read(position, end, max_records=CHUNK_RECORDS, max_bytes=CHUNK_BYTES)
            yield from records

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()
