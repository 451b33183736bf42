"""The writer thread: it takes what was submitted, in groups, and commits each group in one transaction.

One thread writes because a store has one write transaction at a time anyway, and because a transaction of LMDB belongs to the
thread that began it. Committing costs far more than an operation does, so all operations that wait are committed together.

What can go wrong with a group:

- An operation fails, by a bug. Its submission is answered with FAILED, and the rest is done again without it.
- The store fails in a way that `Storage.recover` mends, like a map that is full. The group is done again.
- The store fails for good. Whoever submitted what was being carried out is told; at the commit, these are all in the group.
- Nobody is left to be told the outcomes. They are committed all the same.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from ._batch import Batch, Shared
from ._clocks import Clocks
from ._errors import EngineClosedError, NoSpaceError
from ._interface import Done, EngineOptions, Wake
from ._operations import Operation, Outcome, Problem, size_of
from ._storage import Storage

_log = logging.getLogger("trio_spool.engine")

# The maximum of one transaction, in operations and in bytes of their values, so that those in front are not kept waiting for those
# behind. Measured with LMDB on two cores: 10,000 stores of 100 bytes take 60 ms without syncing and 100 ms with it; 32 of 1 MiB
# take 40 and 80 ms.
GROUP_OPERATIONS = 10_000
GROUP_BYTES = 32 * 1024 * 1024
# The maximum number of expired items that one transaction removes. Measured with LMDB: 3 ms without syncing, 13 ms with it.
EXPIRY_BATCH = 1000
# Seconds that the thread sleeps at least before a flush that is due later, so that it does not spin. Picked, not measured.
_SHORTEST_SLEEP = 0.001

_T = TypeVar("_T")
_Answer = tuple[Done, "list[Outcome]"]


@attrs.define(eq=False)
class _Submission:
    operations: Sequence[Operation]
    done: Done
    size: int

    def fail(self, problem: Problem) -> _Answer:
        return self.done, [Outcome(problem)] * len(self.operations)


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


class Writer:
    """A queue of operations, and the thread that carries them out.

    Args:
        storage: Where the items are kept.
        options: `wake`, `clock`, `steady_clock`, `expiry_interval` and `space_of` are used.
        chores: Called in the writer thread after each group, and when nothing was submitted for `expiry_interval` seconds. They
            must not raise.

    Attributes:
        shared: What all threads may read. The writer thread replaces it at each commit.
        clocks: The clocks of the engine.
        closing: Whether nothing can be submitted any more.
        cpu_seconds: Seconds of processor time that the thread has used.
    """

    def __init__(self, storage: Storage, options: EngineOptions, chores: Sequence[Callable[[], object]] = ()) -> None:
        self._storage = storage
        self._wake: Wake = options.wake if options.wake is not None else lambda function: function()
        self._expiry_interval = options.expiry_interval
        self._space_of = options.space_of
        self._chores = chores
        recovered = storage.load()
        self.shared = Shared(recovered.state, recovered.spaces, {}, recovered.memories)
        self.clocks = Clocks(options.clock, options.steady_clock, recovered.state.cas)
        self._flush_at = recovered.state.flush_at  # of `shared`, as every read looks at it
        self._condition = threading.Condition()
        self._queue: deque[_Submission] = deque()  # changed under the condition, like the next two
        self._queued_bytes = 0
        self.closing = False
        # The writer thread alone changes these.
        self._operations = 0
        self._commits = 0
        self._largest_group = 0
        self._commit_seconds = 0.0
        self._expired = 0
        self.cpu_seconds = 0.0
        self._thread = threading.Thread(target=self._run_in_thread, name="trio-spool-writer", daemon=True)

    # For all threads

    def start(self) -> None:
        """Start the thread. Operations that were submitted before wait for it."""
        self._thread.start()

    def submit(self, operations: Sequence[Operation], done: Done) -> None:
        """Queue operations: see `Engine.submit`."""
        size = sum(map(size_of, operations))
        with self._condition:
            if self.closing:
                raise EngineClosedError
            self._queue.append(_Submission(operations, done, size))
            self._queued_bytes += size
            self._condition.notify()

    def close(self) -> None:
        """Take no more operations, carry out those that are queued, and wait until the thread has ended."""
        with self._condition:
            self.closing = True
            self._condition.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def flushed(self, now: float) -> bool:
        """Return whether a delayed flush is due that the thread has not got to yet: until it has, nothing exists."""
        return 0 < self._flush_at <= now

    def is_locked(self, key: bytes) -> bool:
        """Return whether an item is locked."""
        return self.shared.locks.get(key, 0.0) > self.clocks.steady()

    def statistics(self) -> WriterStatistics:
        """Return what the thread has done, and what waits for it."""
        return WriterStatistics(
            operations=self._operations, commits=self._commits, largest_group=self._largest_group,
            commit_seconds=self._commit_seconds, queued=len(self._queue), queued_bytes=self._queued_bytes, expired=self._expired,
        )  # fmt: skip

    # The thread

    def _run_in_thread(self) -> None:
        next_expiry = time.monotonic() + self._expiry_interval
        while True:
            group = self._next_group(next_expiry)
            if group is None:
                return
            if group:
                self._answer(self._carry_out(group))
                self.cpu_seconds = time.thread_time()
            for chore in self._chores:
                chore()
            if time.monotonic() >= next_expiry or self.flushed(self.clocks.wall()):
                more = self.remove_expired()
                next_expiry = time.monotonic() + (0 if more else self._expiry_interval)

    def _next_group(self, next_expiry: float) -> list[_Submission] | None:
        """Wait until there is something to do, and return what was submitted: nothing if something else is due, None at the end."""
        with self._condition:
            if not self._queue:
                if self.closing:
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
        return max(self._flush_at - self.clocks.wall(), _SHORTEST_SLEEP) if self._flush_at else math.inf

    def _answer(self, answers: list[_Answer]) -> None:
        def call_all() -> None:
            for done, outcomes in answers:
                done(outcomes)

        try:
            self._wake(call_all)
        except Exception:
            # As when the event loop has ended. What was submitted is committed all the same.
            _log.debug("nobody is left to be told of a commit", exc_info=True)

    def _carry_out(self, group: list[_Submission]) -> list[_Answer]:
        """Carry out a group in one transaction. What makes it fail is left out, and the rest is done again."""
        failed: list[_Answer] = []
        while group:
            answers: list[_Answer] = []
            try:
                self._transact(partial(_run_all, group, answers))
            except Exception as error:
                problem = self._recover(error)
                if problem is not None:
                    at_work = len(answers)  # the submission that failed; if all are answered, the commit did
                    culprits = group[at_work : at_work + 1] or group
                    _log.error("%d submissions failed: %s", len(culprits), problem.value, exc_info=error)
                    failed += [submission.fail(problem) for submission in culprits]
                    group = [submission for submission in group if submission not in culprits]
                continue
            operations = sum(len(submission.operations) for submission in group)
            self._largest_group = max(self._largest_group, operations)
            self._operations += operations
            return failed + answers
        return failed

    def remove_expired(self) -> bool:
        """Remove some expired items, carry out a flush that is due, and return whether there may be more: in the writer thread."""
        while True:
            try:
                removed = self._transact(_remove_expired)
            except Exception as error:
                if self._recover(error) is None:
                    continue
                _log.error("removing expired items failed; it is tried again later", exc_info=error)
                return False
            self._expired += removed
            return removed == EXPIRY_BATCH

    def _transact(self, work: Callable[[Batch], _T]) -> _T:
        """Do some work in a transaction, and commit it. Any error aborts the transaction."""
        with self._storage.map_errors():
            transaction = self._storage.begin()
            try:
                batch = Batch(transaction, self.shared, self.clocks.now(), self._space_of)
                result = work(batch)
                self._commit(batch)
            except BaseException:
                transaction.abort()
                raise
        return result

    def _commit(self, batch: Batch) -> None:
        started = time.perf_counter()
        before = self.shared
        state, changed_spaces = batch.state(), batch.changed_spaces()
        if batch.changed:
            if batch.locks:
                # A new lock holds before anybody can read the CAS that it gave.
                self.shared = before._replace(locks={**before.locks, **batch.locks})
            try:
                batch.transaction.commit(state, changed_spaces)
            except BaseException:
                self.shared = before
                raise
            self._commits += 1
        else:
            batch.transaction.abort()
        self.shared = batch.shared(state, changed_spaces)
        self._flush_at = state.flush_at
        self._commit_seconds += time.perf_counter() - started

    def _recover(self, error: Exception) -> Problem | None:
        """Try to mend what made a transaction fail. Return None if it is worth another try, or what to tell those who wait."""
        try:
            with self._storage.map_errors():
                if self._storage.recover(error):
                    return None
        except Exception as another:
            another.__context__ = error
            error = another
        return Problem.NO_SPACE if isinstance(error, NoSpaceError) else Problem.FAILED


def _run_all(group: list[_Submission], answers: list[_Answer], batch: Batch) -> None:
    """Carry out the operations of a group, and add an answer as soon as a submission is done."""
    for submission in group:
        answers.append((submission.done, [batch.run(operation) for operation in submission.operations]))


def _remove_expired(batch: Batch) -> int:
    return batch.remove_expired(EXPIRY_BATCH)
