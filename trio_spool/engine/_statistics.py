"""What an engine tells about itself."""

from __future__ import annotations

import attrs

from .._histogram import Distribution


@attrs.frozen(kw_only=True)
class EngineStatistics:
    """What an engine holds and has done since it was opened.

    Attributes:
        kind: The name of the engine.
        fsync: When what was written is forced to the disk.
        items: The number of items, including expired ones that have not been removed yet.
        tombstones: The number of tombstones, likewise. They do not count as items.
        disk_bytes: Bytes of disk in use; 0 for an engine without files.
        live_bytes: Those of them that the items need.
        unused_bytes: The others: free, and used again before the file grows, or still needed by snapshots.
        max_held_bytes: The number of unused bytes from which on a file that grows ends the oldest snapshot; 0 if nothing does.
        map_bytes: Bytes of address space reserved; 0 for an engine without a map.
        map_growths: How often the map had to grow.
        seqno: The sequence number of the last mutation.
        snapshots: The number of open snapshots.
        oldest_snapshot_seconds: For how long the oldest of them has been open; 0 if none is.
        snapshots_ended: The number of snapshots that reached the end of their life.
        snapshots_ended_for_space: The number of snapshots that were ended because they kept too much on disk.
        operations: The number of operations that were carried out.
        commits: The number of transactions that changed something.
        largest_group: The largest number of operations in one transaction.
        commit_seconds: Seconds spent in committing.
        queued: The number of submissions that wait for the writer thread.
        queued_bytes: Bytes of the values in them.
        expired: The number of expired items that were removed.
        evictions: The number of items that were removed to make room.
        max_size: The bytes that the items may take; 0 for no bound.
        damaged: How often something damaged was met, by whatever needed it.
        scrubbed: The number of items that the scrub has verified.
        scrubs: The number of times that the scrub has been through all items.
        syncs: The number of times that what was committed was forced to the disk.
        used_pages: Pages of the file that the items need; 0 for an engine without pages.
        unused_pages: The others.
    """

    kind: str
    fsync: str
    items: int
    tombstones: int
    disk_bytes: int
    live_bytes: int
    unused_bytes: int
    max_held_bytes: int
    map_bytes: int
    map_growths: int
    seqno: int
    snapshots: int
    oldest_snapshot_seconds: float
    snapshots_ended: int
    snapshots_ended_for_space: int
    operations: int
    commits: int
    largest_group: int
    commit_seconds: float
    queued: int
    queued_bytes: int
    expired: int
    evictions: int
    max_size: int
    damaged: int
    scrubbed: int
    scrubs: int
    syncs: int = 0
    used_pages: int = 0
    unused_pages: int = 0


@attrs.frozen(kw_only=True)
class EngineDistributions:
    """How what an engine does varies.

    Attributes:
        commits: How long commits took, in microseconds.
        groups: How many operations were carried out in one transaction.
    """

    commits: Distribution = attrs.field(factory=Distribution)
    groups: Distribution = attrs.field(factory=Distribution)


@attrs.frozen
class CopiedFile:
    """A file of a copy.

    Attributes:
        name: The name of the file in the directory of the copy.
        size: The size in bytes.
        sha512: The SHA-512 of its content, in hexadecimal.
    """

    name: str
    size: int
    sha512: str


@attrs.frozen(kw_only=True)
class WriterStatistics:
    """What a writer thread has done: see `EngineStatistics` for the meaning of each."""

    operations: int
    commits: int
    largest_group: int
    commit_seconds: float
    queued: int
    queued_bytes: int
    expired: int
