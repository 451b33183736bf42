"""The interface of a storage engine, and the writer thread that all engines share."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import attrs

from ._errors import EngineClosedError, NoFilesError
from ._operations import Edit, Entry, Operation, Outcome, Problem, Space
from ._reading import Reader, Snapshot
from ._transaction import Batch, Shared, SpaceOf, State, Transaction

_log = logging.getLogger("trio_spool.engine")

Done = Callable[["list[Outcome]"], None]
Wake = Callable[[Callable[[], None]], object]

# One transaction takes at most this many operations and bytes of values, so that the first is not kept waiting.
GROUP_OPERATIONS = 10_000
GROUP_BYTES = 32 * 1024 * 1024
# Expired items that one transaction removes: a few milliseconds' work.
EXPIRY_BATCH = 1000


@attrs.frozen(kw_only=True)
class EngineStatistics:
    """What an engine holds and has done. Sizes are in bytes, times in seconds."""

    kind: str
    fsync: str
    items: int
    disk_bytes: int
    map_bytes: int
    map_growths: int
    seqno: int
    snapshots: int
    snapshots_ended: int
    operations: int
    commits: int
    largest_group: int
    commit_seconds: float
    queued: int
    queued_bytes: int
    expired: int


@attrs.define
class _Submission:
    operations: Sequence[Operation]
    done: Done
    size: int


def _size_of(operation: Operation) -> int:
    """Return the bytes of an operation's values."""
    if isinstance(operation, Edit):
        return sum(len(step.value) for step in operation.steps)
    return len(getattr(operation, "value", b""))


class Engine(ABC):
    """Ordered, durable storage with one writer thread.

    Args:
        wake: Calls a function, given to it in the writer thread, where the answers are wanted: once for each group.
        clock: Tells the Unix time.
        expiry_interval: Seconds between two searches for expired items.
        space_of: Returns the part of a key by which items are counted in `spaces`.

    Attributes:
        durable: Whether an answered mutation is on disk, so that a crash of the machine does not lose it.
        local: Whether point reads take microseconds and may run on an event loop; if not, they must run in a worker thread.
        identity: Tells this store from all others, and is the same whenever the store is opened again.
    """

    kind: str
    fsync = "no"
    durable = False
    local = True
    identity: str

    def __init__(
        self,
        *,
        wake: Wake | None = None,
        clock: Callable[[], float] = time.time,
        expiry_interval: float = 1.0,
        space_of: SpaceOf = lambda key: b"",
    ) -> None:
        self._wake: Wake = wake if wake is not None else lambda function: function()
        self._clock = clock
        self._expiry_interval = expiry_interval
        self._state = State()  # the writer's; others read it
        self._shared = Shared(space_of, {}, {}, {})  # likewise
        self._condition = threading.Condition()
        self._queue: deque[_Submission] = deque()  # under the condition, like the next two
        self._queued_bytes = 0
        self._closing = False
        # Counters, the writer's.
        self._operations = 0
        self._commits = 0
        self._largest_group = 0
        self._commit_seconds = 0.0
        self._expired = 0
        self._writer_seconds = 0.0  # processor time
        self._thread = threading.Thread(target=self._write_in_thread, name="trio-spool-writer", daemon=True)

    # For every thread

    @abstractmethod
    def open_reader(self) -> Reader:
        """Open a reader for one thread."""

    @abstractmethod
    def snapshot(self, *, keys_only: bool = False, xattrs: bool = False) -> Snapshot:
        """Open a snapshot of what has been committed.

        Args:
            keys_only: Its records have empty values.
            xattrs: The value of a record that has extended attributes is preceded by them: see `split_extended`.

        Raises:
            TooManySnapshotsError: The engine's limit is reached.
            EngineClosedError: The engine is closed.
        """

    @abstractmethod
    def entries(self, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """Yield every live key in order, without its value, and without holding a transaction for long.

        What is stored or deleted meanwhile may or may not be seen; every key that exists all the time is seen once.
        """

    def copy(self, take: Callable[[bytes], object]) -> None:
        """Write a consistent, compacted copy of the store, as it is now, while others go on reading and writing.

        Args:
            take: Is given the bytes of the copy in order, a piece at a time. What it raises ends the copying, and is raised here.

        Raises:
            NoFilesError: This engine has none.
            CopyError: Reading it failed.
        """
        raise NoFilesError(f"the engine {self.kind} keeps nothing in files that could be copied")

    @abstractmethod
    def statistics(self) -> EngineStatistics:
        """Return what the engine holds and has done."""

    def submit(self, operations: Sequence[Operation], done: Done) -> None:
        """Queue operations, to be carried out in order within one transaction.

        Args:
            operations: Later ones see what earlier ones did.
            done: Is given the outcomes, by way of `wake`, once the transaction is committed. It must not raise.

        Raises:
            EngineClosedError: The engine is closed.
        """
        size = sum(map(_size_of, operations))
        with self._condition:
            if self._closing:
                raise EngineClosedError("the engine is closed")
            self._queue.append(_Submission(operations, done, size))
            self._queued_bytes += size
            self._condition.notify()

    def execute(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations and wait for their outcomes: `submit` for a thread that may block.

        Raises:
            EngineClosedError: The engine is closed.
        """
        finished = threading.Event()
        outcomes: list[Outcome] = []

        def done(answer: list[Outcome]) -> None:
            outcomes.extend(answer)
            finished.set()

        self.submit(operations, done)
        finished.wait()
        return outcomes

    def close(self) -> None:
        """Carry out what is queued, end every snapshot, and wait until the writer thread has ended."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Engine:
        """Return the engine."""
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()

    @property
    def seqno(self) -> int:
        """The sequence number of the last mutation that has been committed."""
        return self._state.seqno

    @property
    def writer_seconds(self) -> float:
        """Processor time that the writer thread has used."""
        return self._writer_seconds

    @property
    def spaces(self) -> Mapping[bytes, Space]:
        """What the keys of each space hold, as of the last commit."""
        return self._shared.spaces

    @property
    def locks(self) -> Mapping[bytes, float]:
        """The locked keys, as of the last commit, with the Unix time at which each lock ends, which may have passed."""
        return self._shared.locks

    def is_locked(self, key: bytes) -> bool:
        """Whether an item is locked."""
        return self._shared.locks.get(key, 0.0) > self._clock()

    def recall(self, name: bytes) -> bytes | None:
        """Return what `Remember` stored under a name."""
        return self._shared.memories.get(name)

    def flushed(self, now: float) -> bool:
        """Whether a delayed flush is due that the writer has not got to yet: until it has, nothing exists."""
        return 0 < self._state.flush_at <= now

    # For the engines

    @abstractmethod
    def _begin(self) -> Transaction:
        """Begin a write transaction."""

    def _recover(self, error: Exception) -> bool:
        """Do something about an error of a transaction, which was aborted. Return whether to try again."""
        return False

    def _problem_of(self, error: Exception) -> Problem:
        """Tell what an error of a commit is to those who are waiting for it."""
        return Problem.FAILED

    def _sync_in_thread(self) -> None:  # noqa: B027 - most engines have nothing to do
        """Do what is due beside the operations: called after each group, and when there has been none for a while."""

    # The writer thread

    def _write_in_thread(self) -> None:
        next_expiry = time.monotonic() + self._expiry_interval
        while True:
            group = self._next_group(next_expiry)
            if group is None:
                return
            if group:
                self._answer(self._run_group(group))
                self._writer_seconds = time.thread_time()
            self._sync_in_thread()
            if time.monotonic() >= next_expiry or self.flushed(self._clock()):
                more = self.remove_expired()
                next_expiry = time.monotonic() + (0 if more else self._expiry_interval)

    def _next_group(self, next_expiry: float) -> list[_Submission] | None:
        with self._condition:
            if not self._queue:
                if self._closing:
                    return None
                self._condition.wait(max(0.0, min(next_expiry - time.monotonic(), self._until_flush())))
            group = []
            operations = size = 0
            while self._queue and operations < GROUP_OPERATIONS and size < GROUP_BYTES:
                submission = self._queue.popleft()
                operations += len(submission.operations)
                size += submission.size
                group.append(submission)
            self._queued_bytes -= size
        return group

    def _until_flush(self) -> float:
        at = self._state.flush_at
        return max(at - self._clock(), 0.001) if at else 3600.0

    def _answer(self, answers: list[tuple[Done, list[Outcome]]]) -> None:
        def call_all() -> None:
            for done, outcomes in answers:
                done(outcomes)

        try:
            self._wake(call_all)
        except Exception:
            # Those who waited are gone, as when the event loop has ended: what they asked for is committed all the same.
            _log.debug("nobody is left to be told of a commit", exc_info=True)

    def _run_group(self, group: list[_Submission]) -> list[tuple[Done, list[Outcome]]]:
        """Carry out a group in one transaction; what breaks it fails alone, and the rest is done again without it."""
        failed: list[tuple[Done, list[Outcome]]] = []
        while group:
            transaction: Transaction | None = None
            submission = group[0]
            try:
                transaction = self._begin()
                batch = Batch(transaction, self._state, self._clock(), self._shared)
                answers = []
                for submission in group:
                    answers.append((submission.done, [batch.run(operation) for operation in submission.operations]))
            except Exception as error:
                if transaction is not None:
                    transaction.abort()
                if not self._recover(error):
                    problem = self._problem_of(error)
                    _log.exception("a submission of %d operations failed", len(submission.operations))
                    failed.append((submission.done, [Outcome(problem)] * len(submission.operations)))
                    group.remove(submission)
                continue
            if self._commit(transaction, batch):
                self._largest_group = max(self._largest_group, batch.operations)
                self._operations += batch.operations
                return failed + answers
            if self._commit_error is not None:
                problem = self._problem_of(self._commit_error)
                return failed + [(s.done, [Outcome(problem)] * len(s.operations)) for s in group]
        return failed

    _commit_error: Exception | None = None

    def _commit(self, transaction: Transaction, batch: Batch) -> bool:
        """Commit, and return whether it worked; if not, `_commit_error` is None when it is worth another try."""
        self._commit_error = None
        started = time.perf_counter()
        shared = self._shared
        try:
            if batch.changed:
                spaces = batch.spaces
                if batch.locks:
                    # A new lock holds before anybody can read the CAS that it gave.
                    self._shared = shared._replace(locks={**shared.locks, **batch.locks})
                transaction.commit(batch.state, spaces)
            else:
                transaction.abort()
        except Exception as error:
            self._shared = shared
            transaction.abort()
            if not self._recover(error):
                _log.exception("a commit failed")
                self._commit_error = error
            return False
        self._state = batch.state
        if batch.changed:
            self._share(batch, spaces)
        elif batch.locks is not None:
            self._shared = self._shared._replace(locks=batch.locks)
        self._commits += batch.changed
        self._commit_seconds += time.perf_counter() - started
        return True

    def _share(self, batch: Batch, spaces: Mapping[bytes, Space] | None) -> None:
        shared = self._shared
        if spaces is not None:
            shared = shared._replace(spaces=spaces)
        if batch.locks is not None:
            shared = shared._replace(locks=batch.locks)
        if batch.memories:
            shared = shared._replace(memories={**shared.memories, **batch.memories})
        self._shared = shared

    def remove_expired(self) -> bool:
        """Remove some expired items, carry out a flush that is due, and return whether there may be more: in the writer thread."""
        while True:
            transaction: Transaction | None = None
            try:
                transaction = self._begin()
                batch = Batch(transaction, self._state, self._clock(), self._shared)
                keys = transaction.expired(batch.now, EXPIRY_BATCH)
                for key in keys:
                    batch.remove(key)
            except Exception as error:
                if transaction is not None:
                    transaction.abort()
                if self._recover(error):
                    continue
                _log.exception("removing expired items failed")
                return False
            if self._commit(transaction, batch):
                self._expired += len(keys)
                return len(keys) == EXPIRY_BATCH
            if self._commit_error is not None:
                return False
