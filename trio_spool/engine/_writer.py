"""The writer thread: it takes what was submitted, in groups, and commits each group in one transaction.

One thread writes because a store has one write transaction at a time anyway, and because a transaction of LMDB belongs to the
thread that began it. Committing costs far more than an operation does, so all operations that wait are committed together.

What can go wrong with a group:

- An operation fails, by a bug. Its submission is answered with FAILED, and the rest is done again without it.
- The store fails in a way that `Storage.recover` mends, like a map that is full. The group is done again.
- The store fails for now, like a full disk. Whoever submitted what was being carried out is told; at the commit, these are all in
  the group.
- The store fails again and again, or it can't be relied on any more (`LostStoreError`), or anything happens that nobody has
  thought of. Then the thread ends, and the engine has failed: everybody who waits is told, and so is whoever submits anything
  later. A thread that ended in silence would keep them all waiting for ever.
- Nobody is left to be told the outcomes. They are committed all the same.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from .._histogram import Histogram
from .._incidents import Incidents, by_logging, place_of
from ._batch import Batch, Shared
from ._clocks import Clocks
from ._errors import DamagedError, DeviceError, EngineFailedError, LostStoreError, NoSpaceError, RefusedError, StorageError
from ._interface import Done, EngineOptions, Wake
from ._keeping import Keeper
from ._operations import Operation, Problem
from ._statistics import WriterStatistics
from ._storage import Storage
from ._submissions import Answer, Submission, SubmissionQueue
from ._tombstones import divide
from ._work import nothing, remove_expired, run_all

_log = logging.getLogger("trio_spool.engine")

# Seconds that the thread sleeps at least before a flush that is due later, so that it does not spin. Picked, not measured.
_SHORTEST_SLEEP = 0.001
# Transactions in a row that fail, though not for lack of room and not because of what one client asked for, before the engine
# fails. One failed sync loses only the transaction that it was for. Picked, not measured: more than one, since the pool of a
# thin-provisioned disk may get room at once, and few, since a supervisor that starts the server on another disk is a better answer
# than an error to each request.
MAX_FAILURES = 3

_T = TypeVar("_T")
Chores = Sequence[Callable[[], object]]


class Writer:
    """A queue of operations, and the thread that carries them out.

    Args:
        storage: Where the items are kept.
        options: The options of the engine. Those about files, snapshots and maps are ignored, but for the name of the directory.
        checks: Called in the writer thread before a group is answered, and when nothing was submitted for `expiry_interval`
            seconds. What one of them raises ends the engine, and nobody is told that the group is committed.
        chores: Called in the writer thread after each group, and when nothing was submitted for `expiry_interval` seconds. What one
            of them raises ends the engine.
        keeper: Keeps the store within its bound. By default, it has none.

    Attributes:
        shared: What all threads may read. The writer thread replaces it at each commit.
        clocks: The clocks of the engine.
        cpu_seconds: Seconds of processor time that the thread has used.
        commit_times: How long commits took, in microseconds.
        group_sizes: How many operations were carried out in one transaction.
        last_commit: How many seconds the last commit took.
        refused: How often a transaction failed for good.
        group_began: When it began with the group that is being answered, by `time.perf_counter`. Whoever answers sets it.
    """

    def __init__(
        self, storage: Storage, options: EngineOptions, checks: Chores = (), chores: Chores = (), keeper: Keeper | None = None
    ) -> None:
        self._storage = storage
        self._keeper = keeper if keeper is not None else Keeper()
        self._wake: Wake = options.wake if options.wake is not None else lambda function: function()
        self._failed = options.failed
        self._expiry_interval = options.expiry_interval
        self._space_of = options.space_of
        self._tombstone_life = options.tombstone_life
        self._checks = checks
        self._chores = chores
        recovered = storage.load()
        spaces, tombstones = divide(recovered.spaces)
        self.shared = Shared(recovered.state, spaces, {}, recovered.memories, tombstones)
        self.clocks = Clocks(options.clock, options.steady_clock, recovered.state.cas)
        self._flush_at = recovered.state.flush_at  # of `shared`, as every read looks at it
        self._queue = SubmissionQueue()
        self._incidents = options.incidents if options.incidents is not None else Incidents(by_logging(_log))
        self._place = "" if options.directory is None else str(options.directory)
        # The writer thread alone changes these.
        self._unanswered: list[Submission] = []  # taken from the queue
        self._failures = 0  # of transactions, in a row
        self._committing = False
        self._busy_since: float | None = None
        self._group_began = 0.0  # with the group that is being carried out
        self._operations = 0
        self._commits = 0
        self._largest_group = 0
        self._commit_seconds = 0.0
        self._expired = 0
        self.cpu_seconds = 0.0
        self.commit_times = Histogram()
        self.group_sizes = Histogram()
        self.last_commit = 0.0
        self.refused = 0
        self.group_began = 0.0
        self._thread = threading.Thread(target=self._run_in_thread, name="trio-spool-writer", daemon=True)

    # For all threads

    def start(self) -> None:
        """Start the thread. Operations that were submitted before wait for it.

        Raises:
            EngineFailedError: The system gives no further thread.
        """
        try:
            self._thread.start()
        except RuntimeError as exc:
            reason = f"the thread that writes can't be started: {exc}; raise the limit of processes (ulimit -u)"
            raise EngineFailedError(reason) from exc

    @property
    def closing(self) -> bool:
        """Whether nothing can be submitted any more."""
        return self._queue.closing

    @property
    def failure(self) -> EngineFailedError | None:
        """Why the engine has failed, if it has."""
        return self._queue.failure

    def submit(self, operations: Sequence[Operation], done: Done) -> None:
        """Queue operations: see `Engine.submit`."""
        self._queue.add(operations, done)

    def close(self) -> None:
        """Take no more operations, carry out those that are queued, and wait until the thread has ended."""
        self._queue.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def flushed(self, now: float) -> bool:
        """Return whether a delayed flush is due that the thread has not got to yet: until it has, nothing exists."""
        return 0 < self._flush_at <= now

    def is_locked(self, key: bytes) -> bool:
        """Return whether an item is locked."""
        return self.shared.locks.get(key, 0.0) > self.clocks.steady()

    def busy_seconds(self) -> float:
        """Return for how long the thread has been at work since it last waited for operations; 0 while it waits."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def statistics(self) -> WriterStatistics:
        """Return what the thread has done, and what waits for it."""
        return WriterStatistics(
            operations=self._operations, commits=self._commits, largest_group=self._largest_group,
            commit_seconds=self._commit_seconds, queued=len(self._queue), queued_bytes=self._queue.bytes, expired=self._expired,
        )  # fmt: skip

    # The thread

    def _run_in_thread(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._fail(error)

    def _work(self) -> None:
        next_expiry = time.monotonic() + self._expiry_interval
        while True:
            timeout = 0.0 if self._keeper.behind else max(0.0, min(next_expiry - time.monotonic(), self._until_flush()))
            group = self._queue.take(timeout, *self._keeper.group_limits())
            if group is None:
                return
            self._unanswered = group
            self._busy_since = time.monotonic()
            self._group_began = time.perf_counter()
            answers = self._carry_out(group)
            for check in self._checks:
                check()
            if answers:
                self._unanswered = []
                self._answer(answers)
                self.cpu_seconds = time.thread_time()
            for chore in self._chores:
                chore()
            if not group and self._keeper.behind:
                self._tidy(nothing)
            if time.monotonic() >= next_expiry or self.flushed(self.clocks.wall()):
                more = self.remove_expired()
                next_expiry = time.monotonic() + (0 if more else self._expiry_interval)
                self._incidents.look()
            self._busy_since = None

    def _until_flush(self) -> float:
        return max(self._flush_at - self.clocks.wall(), _SHORTEST_SLEEP) if self._flush_at else math.inf

    def _fail(self, error: BaseException) -> None:
        """End the engine because of an error, and tell everybody who waits."""
        if isinstance(error, StorageError):
            failure = EngineFailedError(str(error))
        else:
            # Nobody has thought of this, so its traceback is wanted, once.
            failure = EngineFailedError(f"writing failed: {type(error).__name__}: {error}")
            _log.critical("writing failed; the engine ends", exc_info=error)
        failure.__cause__ = error
        # What was being committed may be there when the store is opened again, and so must not be called refused.
        undone = isinstance(error, LostStoreError) and error.undone
        problem = Problem.FAILED if undone else Problem.UNKNOWN
        queued = self._queue.fail(failure)
        try:
            answers = [submission.fail(problem) for submission in self._unanswered]
            self._answer(answers + [submission.fail(Problem.FAILED) for submission in queued])
        except MemoryError:
            _log.critical("there is no memory to answer those who wait", exc_info=True)
        self._unanswered = []
        if self._failed is None:
            _log.critical("the engine has failed: %s", failure)
            return
        try:
            self._failed(failure)
        except Exception:
            _log.critical("the engine has failed, and nobody is left to be told: %s", failure, exc_info=True)

    def _answer(self, answers: list[Answer]) -> None:
        began = self._group_began

        def call_all() -> None:
            self.group_began = began
            for done, outcomes in answers:
                try:
                    done(outcomes)
                except Exception as error:  # against its promise; the others must be told all the same
                    self._incidents.report("an answer was not taken", place=place_of(error), level="error", error=error)

        try:
            self._wake(call_all)
        except MemoryError:
            raise  # they are there, and would wait for ever
        except Exception:
            # As when the event loop has ended. What was submitted is committed all the same.
            _log.debug("nobody is left to be told of a commit", exc_info=True)

    def _carry_out(self, group: list[Submission]) -> list[Answer]:
        """Carry out a group in one transaction. What makes it fail is left out, and the rest is done again."""
        failed: list[Answer] = []
        while group:
            answers: list[Answer] = []
            try:
                self._transact(partial(run_all, group, answers))
            except Exception as error:
                if isinstance(error, DamagedError) and len(answers) < len(group) and group[len(answers)].leave_out():
                    continue
                problem = self._recover(error)
                if problem is not None:
                    self.refused += 1
                    at_work = len(answers)  # the submission that failed; if all are answered, the commit did
                    culprits = group[at_work : at_work + 1] or group
                    failed += [submission.fail(problem) for submission in culprits]
                    group = [submission for submission in group if submission not in culprits]
                continue
            operations = sum(len(submission.operations) for submission in group)
            self._largest_group = max(self._largest_group, operations)
            self._operations += operations
            self.group_sizes.record(operations)
            return failed + answers
        return failed

    def remove_expired(self) -> bool:
        """Remove some expired items, carry out a flush that is due, and return whether there may be more: in the writer thread."""
        removed = self._tidy(remove_expired)
        if removed is None:
            return False  # it is tried again later
        self._expired += removed.items
        return removed.more

    def make_room(self, size: int) -> bool:
        """Remove items of some bytes, and return whether there were any: in the writer thread, before a group is tried again."""
        before, self._keeper.wanted = self._keeper.evictions, size // 2
        try:
            for _ in range(2):  # what a transaction frees can be used in the next but one
                self._transact(nothing)
        except StorageError:
            return False
        finally:
            self._keeper.wanted = 0
        return self._keeper.evictions > before

    def _tidy(self, work: Callable[[Batch], _T]) -> _T | None:
        """Do some work that nobody waits for, and return its result; None if it failed for now."""
        while True:
            try:
                return self._transact(work)
            except Exception as error:
                if self._recover(error) is None:
                    continue
                self._keeper.behind = False
                return None

    def _transact(self, work: Callable[[Batch], _T]) -> _T:
        """Do some work in a transaction, and commit it. Any error aborts the transaction."""
        with self._storage.map_errors():
            transaction = self._storage.begin()
            try:
                room = self._keeper.begin(transaction)
                batch = Batch(transaction, self.shared, self.clocks.now(), self._space_of, self._tombstone_life, room)
                result = work(batch)
                if room is not None:
                    self._keeper.trim(batch, room, sum(held.items for held in self.shared.spaces.values()))
                self._commit(batch)
            except BaseException:
                transaction.abort()
                raise
        if room is not None:
            self._keeper.committed(room)
            self._expired += room.expired
        return result

    def _commit(self, batch: Batch) -> None:
        started = time.perf_counter()
        before = self.shared
        state, changed_spaces = batch.state(), batch.changed_spaces()
        after = batch.shared(state, changed_spaces)  # before the commit, behind which nothing must fail
        if batch.changed:
            if batch.locks:
                # A new lock holds before anybody can read the CAS that it gave.
                self.shared = before._replace(locks={**before.locks, **batch.locks})
            self._committing = True
            try:
                batch.transaction.commit(state, changed_spaces)
            except BaseException:
                self.shared = before
                raise
            self._committing = False
            self._commits += 1
            self._failures = 0
        else:
            batch.transaction.abort()
        self.shared = after
        self._flush_at = state.flush_at
        seconds = time.perf_counter() - started
        self._commit_seconds += seconds
        if batch.changed:
            self.last_commit = seconds
            self.commit_times.record(int(seconds * 1e6))
            self._incidents.passed(_REFUSED, self._place)

    def _recover(self, error: Exception) -> Problem | None:
        """Try to mend what made a transaction fail. Return None if it is worth another try, or what to tell those who wait.

        Raises:
            LostStoreError: The engine must end.
        """
        at_commit, self._committing = self._committing, False
        if isinstance(error, MemoryError):
            error = NoSpaceError("there is no memory")
        try:
            with self._storage.map_errors():
                if self._storage.recover(error):
                    return None
        except Exception as another:
            another.__context__ = error
            error = another
        if isinstance(error, LostStoreError):
            raise error
        of_commit = at_commit and isinstance(error, StorageError) and not isinstance(error, NoSpaceError)
        if of_commit or isinstance(error, (DeviceError, RefusedError)):
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise LostStoreError(f"{error}, {self._failures} times in a row", undone=True) from error
        if isinstance(error, NoSpaceError):
            self._incidents.report(_REFUSED, place=self._place, level="error", lasts=True, store=self._place, reason=str(error))
            return Problem.NO_SPACE
        if isinstance(error, StorageError):
            self._incidents.report("a write failed", place=self._place, level="error", store=self._place, reason=str(error))
        else:
            self._incidents.report("an operation failed", place=place_of(error), level="error", error=error)
        return Problem.FAILED


# What the log says of a store that can't be written to at the moment.
_REFUSED = "writes are refused"
