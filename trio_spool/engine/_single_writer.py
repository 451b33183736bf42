"""What engines with one writer thread have in common: all that the writer and the registry of snapshots know."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence

from ._background import BackgroundWork
from ._bound import Bound
from ._errors import EngineClosedError, EngineFailedError
from ._interface import Done, Engine, EngineOptions
from ._keeping import Keeper
from ._operations import Operation, Space
from ._reading import Reader, Snapshot
from ._snapshots import SnapshotRegistry
from ._statistics import EngineDistributions, EngineStatistics
from ._storage import Ring, Storage
from ._writer import Chores, Writer


class SingleWriterEngine(Engine):
    """An engine whose mutations one writer thread carries out.

    A subclass that has a ring calls `limit_size`. A subclass starts `writer` as the last thing that its constructor does.

    Args:
        storage: Where the items are kept.
        options: The options of the engine.
        checks: See `Writer`.
        chores: See `Writer`.
        ring: The items in a ring; None if the engine keeps no bound.

    Attributes:
        writer: The writer thread, and its queue.
        registry: The open snapshots.
        keeper: Keeps the store within its bound.
    """

    def __init__(
        self, storage: Storage, options: EngineOptions, checks: Chores = (), chores: Chores = (), ring: Ring | None = None
    ) -> None:
        self.registry = SnapshotRegistry(options.max_snapshots, options.max_snapshot_life)
        self.keeper = Keeper(ring, options.may_evict, options.evicted)
        self.writer = Writer(storage, options, checks, (self.registry.end_old, *chores), self.keeper)
        self._clock = options.clock
        self._counted: weakref.WeakSet[Reader] = weakref.WeakSet()  # the readers of `count_uses`

    def snapshot(self, *, keys_only: bool = False, xattrs: bool = False) -> Snapshot:
        if self.writer.failure is not None:
            raise self.writer.failure.again()
        if self.writer.closing:
            raise EngineClosedError
        self.registry.end_old()
        self.registry.check_room()
        now = self._clock()
        snapshot = self._open_snapshot(keys_only, xattrs, now, self.writer.flushed(now))
        self.registry.add(snapshot)
        return snapshot

    @abstractmethod
    def _open_snapshot(self, keys_only: bool, xattrs: bool, now: float, flushed: bool) -> Snapshot:
        """Open a snapshot as of a Unix time. If it is `flushed`, nothing that is stored exists any more."""

    def submit(self, operations: Sequence[Operation], done: Done) -> None:
        self.writer.submit(operations, done)

    def close(self) -> None:
        self.writer.close()
        self.registry.end_all()

    def limit_size(self, bound: Bound) -> None:
        self.keeper.limit(bound)
        for reader in list(self._counted):
            self.count_uses(reader)

    def count_uses(self, reader: Reader) -> None:
        self._counted.add(reader)
        bound = self.keeper.bound
        reader.used = self.keeper.uses.runs.append if bound.size and bound.evicts else None

    @property
    def failure(self) -> EngineFailedError | None:
        return self.writer.failure

    def _statistics(
        self, *, items: int, disk_bytes: int = 0, live_bytes: int = 0, max_held_bytes: int = 0, map_bytes: int = 0,
        map_growths: int = 0, damaged: int = 0, scrubbed: int = 0, scrubs: int = 0, syncs: int = 0, page_bytes: int = 0,
    ) -> EngineStatistics:  # fmt: skip
        writer, registry = self.writer.statistics(), self.registry
        unused_bytes = max(0, disk_bytes - live_bytes)
        tombstones = sum(space.items for space in self.tombstones.values())
        return EngineStatistics(
            kind=self.kind, fsync=self.fsync, items=max(0, items - tombstones), tombstones=tombstones, disk_bytes=disk_bytes,
            live_bytes=live_bytes, unused_bytes=unused_bytes, max_held_bytes=max_held_bytes, map_bytes=map_bytes,
            map_growths=map_growths, seqno=self.seqno, snapshots=len(registry),
            oldest_snapshot_seconds=round(registry.oldest_seconds(), 3), snapshots_ended=registry.ended,
            snapshots_ended_for_space=registry.ended_for_space, operations=writer.operations,
            commits=writer.commits, largest_group=writer.largest_group, commit_seconds=writer.commit_seconds,
            queued=writer.queued, queued_bytes=writer.queued_bytes, expired=writer.expired, evictions=self.keeper.evictions,
            max_size=self.keeper.bound.size, damaged=damaged,
            scrubbed=scrubbed, scrubs=scrubs, syncs=syncs, used_pages=live_bytes // page_bytes if page_bytes else 0,
            unused_pages=unused_bytes // page_bytes if page_bytes else 0,
        )  # fmt: skip

    def distributions(self) -> EngineDistributions:
        return EngineDistributions(commits=self.writer.commit_times.read(), groups=self.writer.group_sizes.read())

    def background(self) -> list[BackgroundWork]:
        writer, busy = self.writer.statistics(), self.writer.busy_seconds()
        return [
            BackgroundWork(
                name="write", description=f"carries out what is queued; {writer.queued} wait", runs=writer.commits,
                running_seconds=busy or None, last_seconds=self.writer.last_commit, total_seconds=writer.commit_seconds + busy,
                failures=self.writer.refused,
            )
        ]  # fmt: skip

    @property
    def snapshots_ended_for_space(self) -> int:
        return self.registry.ended_for_space

    @property
    def seqno(self) -> int:
        return self.writer.shared.state.seqno

    @property
    def writer_seconds(self) -> float:
        return self.writer.cpu_seconds

    @property
    def group_began(self) -> float:
        return self.writer.group_began

    @property
    def busy_seconds(self) -> float:
        return self.writer.busy_seconds()

    @property
    def spaces(self) -> Mapping[bytes, Space]:
        return self.writer.shared.spaces

    @property
    def tombstones(self) -> Mapping[bytes, Space]:
        return self.writer.shared.tombstones

    @property
    def locks(self) -> Mapping[bytes, float]:
        return self.writer.shared.locks

    def is_locked(self, key: bytes) -> bool:
        return self.writer.is_locked(key)

    def hybrid_time(self) -> int:
        return max(self.writer.clocks.hybrid(), self.writer.shared.state.cas)

    def recall(self, name: bytes) -> bytes | None:
        return self.writer.shared.memories.get(name)
