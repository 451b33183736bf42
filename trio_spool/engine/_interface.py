"""What an engine is: the promises that its users rely on, without a word on how they are kept."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import attrs

from .._incidents import Incidents
from ._background import BackgroundWork
from ._bound import NO_BOUND, Bound, Evicted
from ._errors import EngineFailedError, NoFilesError
from ._operations import Entry, Operation, Outcome, Problem, Space
from ._reading import Reader, Snapshot
from ._statistics import CopiedFile, EngineDistributions, EngineStatistics
from ._tombstones import LIFE

Done = Callable[["list[Outcome]"], None]
Wake = Callable[[Callable[[], None]], object]
SpaceOf = Callable[[bytes], bytes]
MayEvict = Callable[[bytes, bytes], bool]
OnEvicted = Callable[["list[Evicted]"], object]


def one_space(key: bytes) -> bytes:
    """Count all keys as one space."""
    return b""


def anything(key: bytes, xattrs: bytes) -> bool:
    """Allow to evict any item."""
    return True


@attrs.frozen(kw_only=True)
class EngineOptions:
    """The options of all engines. An engine ignores those that mean nothing to it.

    Attributes:
        directory: The data directory, made if it is missing; None for engines that need none.
        create: Whether to make a store where there is none yet. If not, a directory without one is refused.
        allow_network: Whether the directory may be on a network file system.
        fsync: When what was written is forced to the disk: ``always``, ``everysec`` or ``no``.
        wake: Is given a function, in the writer thread, and calls it where the outcomes are wanted: once for each group of
            operations. None calls it in the writer thread.
        failed: Called with the reason if the engine fails for good, in the thread that met it, once everybody who waited for an
            outcome has been told by way of `wake`. None logs it. What it raises is logged.
        clock: Returns the Unix time in seconds.
        steady_clock: Returns seconds of a clock that nobody sets, by which locks end.
        expiry_interval: Seconds between two searches for expired items. The default is picked, not measured.
        max_snapshots: The maximum number of open snapshots. The default is picked, not measured.
        max_snapshot_life: Seconds after which a snapshot is ended. The default is picked, not measured.
        max_held_size: Bytes of deleted and overwritten items that snapshots may keep on disk. If the file grows beyond that, and
            these bytes are more than what the items need, the oldest snapshot is ended. The default is picked, not measured.
        space_of: Returns the part of a key by which `Engine.spaces` counts items.
        tombstone_life: Seconds after which a tombstone that nobody has changed is purged.
        map_size: Bytes of address space that LMDB reserves at first; None for its default.
        incidents: Takes note of what keeps going wrong. By default, the engine logs it.
        verify_reads: Whether point reads verify the checksum of each item. Scans, copies and the scrub always do.
        scrub_rate: Bytes that the scrub, which verifies all items in the background, reads in a second; 0 for no scrub.
        compact: Whether to compact the store before it is opened: see `Engine.wants_compaction`.
        bound: How large the store may become.
        may_evict: Returns whether an item may be removed to make room, given its key and its extended attributes.
        evicted: Called with the items that were removed to make room, in the writer thread, after the commit. It must not raise.
    """

    directory: Path | None = None
    create: bool = True
    allow_network: bool = False
    fsync: str = "always"
    wake: Wake | None = None
    failed: Callable[[EngineFailedError], object] | None = None
    clock: Callable[[], float] = time.time
    steady_clock: Callable[[], float] = time.monotonic
    expiry_interval: float = 1.0
    max_snapshots: int = 64
    max_snapshot_life: float = 180.0
    max_held_size: int = 256 * 1024 * 1024
    space_of: SpaceOf = one_space
    tombstone_life: float = LIFE
    map_size: int | None = None
    incidents: Incidents | None = None
    verify_reads: bool = False
    scrub_rate: int = 0
    compact: bool = False
    bound: Bound = NO_BOUND
    may_evict: MayEvict = anything
    evicted: OnEvicted | None = None


class Engine(ABC):
    """Ordered storage of items by key.

    A key that has no item may have a tombstone, which is shown only to those who ask for it: `Edit.tombstones`, `Get.tombstones`,
    `Reader.find`. Keys that begin with a byte 1 are reserved for storing tombstones.

    Mutations are submitted from any thread. They are carried out one after the other, in groups; a group is committed before its
    outcomes are given to those who submitted it. Reading does not wait for mutations: it shows what has been committed.

    Methods may be called by any thread, unless they say otherwise.

    Attributes:
        kind: The name of the engine.
        fsync: When what was written is forced to the disk: ``always``, ``everysec`` or ``no``.
        durable: Whether a mutation is on disk once its outcome is given, so that a crash of the machine does not lose it.
        local: Whether point reads take microseconds and may run on an event loop. If not, they must run in a worker thread, each
            with a reader of its own, and they must have a deadline of their own: nobody can call a thread back.
        identity: A string that tells this store from all others, and is the same whenever the store is opened again.
    """

    kind: str
    fsync = "no"
    durable = False
    local = True
    identity: str

    # Reading

    @abstractmethod
    def open_reader(self) -> Reader:
        """Open a reader, for one thread at a time.

        Raises:
            EngineError: The engine can't be read.
        """

    @abstractmethod
    def snapshot(self, *, keys_only: bool = False, xattrs: bool = False) -> Snapshot:
        """Open a snapshot of what has been committed. This may block for a moment.

        Args:
            keys_only: Whether to leave the values out of its records.
            xattrs: Whether to put the extended attributes before the value in its records, as `split_extended` explains.

        Raises:
            TooManySnapshotsError: The maximum number of snapshots is open.
            EngineClosedError: The engine is closed.
            EngineFailedError: The engine has failed.
            StorageError: The store failed.
        """

    @abstractmethod
    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """Yield every live key in order, without tombstones, without its value, and without holding a transaction for long. Blocks.

        A key that is stored or deleted meanwhile may or may not be seen. A key that exists all the time is seen once.

        Args:
            start: The first key.

        Raises:
            EngineClosedError: The engine is closed.
            StorageError: The store failed.
        """

    def copy_files(self, directory: Path, check: Callable[[], None]) -> list[CopiedFile]:
        """Copy the store, as it is now, to files in a new data directory, while others go on reading and writing. Blocks.

        Args:
            directory: The directory, which is made. If copying fails, what is in it is no copy, and may be removed.
            check: Called again and again. What it raises ends the copying, and is raised here.

        Returns:
            The files, in the order in which a copy of the copy must write them: the marker, which makes it a data directory, is
            the last.

        Raises:
            NoFilesError: The engine has no files.
            CopyError: Reading the store failed.
            DamagedError: Something in the store is damaged: a copy would be no better.
            DataDirectoryError: The directory can't be used.
            OSError: Writing the copy failed.
        """
        raise NoFilesError(f"the engine {self.kind} has no files to copy")

    # Writing

    @abstractmethod
    def submit(self, operations: Sequence[Operation], done: Done) -> None:
        """Queue operations, to be carried out in order within one transaction. Does not block.

        Args:
            operations: Later ones see the effect of earlier ones.
            done: Called with the outcomes, by way of `wake`, once the transaction is committed. It must not raise.

        Raises:
            EngineClosedError: The engine is closed.
            EngineFailedError: The engine has failed.
        """

    def execute(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations and wait for their outcomes: `submit` for a thread that may block.

        Raises:
            EngineClosedError: The engine is closed.
            EngineFailedError: The engine has failed, before or meanwhile. In the latter case, the operations may have been carried
                out, and may be found when the store is opened again.
        """
        finished = threading.Event()
        outcomes: list[Outcome] = []

        def done(answer: list[Outcome]) -> None:
            outcomes.extend(answer)
            finished.set()

        self.submit(operations, done)
        finished.wait()
        if (
            self.failure is not None
            and outcomes
            and all(outcome.problem in (Problem.FAILED, Problem.UNKNOWN) for outcome in outcomes)
        ):
            raise self.failure.again()
        return outcomes

    @abstractmethod
    def close(self) -> None:
        """Carry out what is queued, end every snapshot, and release everything. Blocks. Harmless if it was called before."""

    def __enter__(self) -> Engine:
        """Return the engine."""
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()

    # What is known without reading the store

    @property
    def failure(self) -> EngineFailedError | None:
        """Why the engine has failed for good; None as long as it has not."""
        return None

    @abstractmethod
    def statistics(self) -> EngineStatistics:
        """Return what the engine holds and has done.

        Raises:
            EngineClosedError: The engine is closed.
            StorageError: The store failed.
        """

    def distributions(self) -> EngineDistributions:
        """Return how long commits took, and how much was done in each. An engine that does not know returns nothing of it."""
        return EngineDistributions()

    def background(self) -> list[BackgroundWork]:
        """Return what the engine does by itself, whether it is going on or rests."""
        return []

    @property
    def snapshots_ended_for_space(self) -> int:
        """How many snapshots were ended because they kept too much on disk."""
        return 0

    def limit_held(self, size: int) -> None:
        """Change `EngineOptions.max_held_size`. An engine to which that means nothing ignores it."""
        return None

    def limit_size(self, bound: Bound) -> None:
        """Change `EngineOptions.bound`. An engine that keeps no bound ignores it."""
        return None

    @property
    def wants_compaction(self) -> bool:
        """Whether the store takes more room than its bound allows, and would not if it were closed, and opened with `compact`."""
        return False

    def count_uses(self, reader: Reader) -> None:
        """Let what a reader reads count as used, so that it stays longer. An engine that evicts nothing ignores it."""
        return None

    @property
    @abstractmethod
    def seqno(self) -> int:
        """The sequence number of the last mutation that has been committed."""

    @property
    @abstractmethod
    def writer_seconds(self) -> float:
        """Seconds of processor time that carrying out mutations has used."""

    @property
    def group_began(self) -> float:
        """When the engine began to carry out the operations that are being answered, by `time.perf_counter`; 0 if it does not say.

        Read it in a `Done`: it is of the operations whose outcomes that gets.
        """
        return 0.0

    @property
    def busy_seconds(self) -> float:
        """For how many seconds the engine has been at work since it last waited for something to do; 0 while it waits."""
        return 0.0

    @property
    @abstractmethod
    def spaces(self) -> Mapping[bytes, Space]:
        """What the keys of each space hold, as of the last commit, without tombstones."""

    @property
    def tombstones(self) -> Mapping[bytes, Space]:
        """The tombstones in each space, as of the last commit. Where it is empty, nobody need look for one."""
        return {}

    @property
    @abstractmethod
    def locks(self) -> Mapping[bytes, float]:
        """The locked keys, as of the last commit, with the time of the steady clock at which each lock ends; it may have passed."""

    @abstractmethod
    def is_locked(self, key: bytes) -> bool:
        """Return whether an item is locked."""

    def hybrid_time(self) -> int:
        """Return the time that CAS values follow, in nanoseconds: the Unix time, unless somebody has set the clock back."""
        return time.time_ns()

    @abstractmethod
    def recall(self, name: bytes) -> bytes | None:
        """Return what `Remember` stored under a name; None if nothing was."""
