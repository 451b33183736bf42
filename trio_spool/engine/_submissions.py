"""What waits for the writer thread: a queue that ends by being closed, or by the failure of its engine."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import attrs

from ._errors import EngineClosedError, EngineFailedError
from ._interface import Done
from ._operations import Operation, Outcome, Problem, size_of

# The maximum of one group, in operations and in bytes of their values, so that those in front are not kept waiting for those
# behind. Measured with LMDB on two cores: 10,000 stores of 100 bytes take 60 ms without syncing and 100 ms with it; 32 of 1 MiB
# take 40 and 80 ms.
GROUP_OPERATIONS = 10_000
GROUP_BYTES = 32 * 1024 * 1024

# Operations of one submission that are left out one by one. Picked, not measured.
MAX_DAMAGED = 16

Answer = tuple[Done, "list[Outcome]"]


@attrs.define(eq=False)
class Submission:
    """Operations that were submitted together.

    Attributes:
        operations: The operations.
        done: Is called with their outcomes.
        size: The bytes of their values.
        outcomes: Those that are known in the transaction that is going on.
        running: Whether they are being carried out.
        damaged: The operations that need something damaged, by their places; they are left out.
    """

    operations: Sequence[Operation]
    done: Done
    size: int
    outcomes: list[Outcome] = attrs.field(factory=list)
    running: bool = False
    damaged: set[int] | None = None

    def leave_out(self) -> bool:
        """Leave out the operation that has just failed from the next try, and return whether that is worth it.

        Each costs another try of a whole group. Where a page is damaged, a client that asks for all of its keys would cost many.
        """
        if not self.running:
            return False  # it was not one of these operations
        self.running = False
        damaged = self.damaged = self.damaged if self.damaged is not None else set()
        damaged.add(len(self.outcomes))
        return len(damaged) <= MAX_DAMAGED

    def fail(self, problem: Problem) -> Answer:
        """Return the answer if all its operations have the same problem."""
        return self.done, [Outcome(problem)] * len(self.operations)


class SubmissionQueue:
    """Submissions in order. Any thread may add one; the writer thread takes them.

    Attributes:
        closing: Whether nothing can be added any more.
        failure: Why nothing can be added any more, if the engine has failed.
        bytes: The bytes of the values that wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Submission] = deque()  # changed under the condition, like the attributes
        self.bytes = 0
        self.closing = False
        self.failure: EngineFailedError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, operations: Sequence[Operation], done: Done) -> None:
        """Add a submission.

        Raises:
            EngineClosedError: The queue is closed.
            EngineFailedError: The engine has failed.
        """
        size = sum(map(size_of, operations))
        with self._changed:
            if self.failure is not None:
                raise self.failure.again()
            if self.closing:
                raise EngineClosedError
            self._waiting.append(Submission(operations, done, size))
            self.bytes += size
            self._changed.notify()

    def close(self) -> None:
        """Take no more submissions."""
        with self._changed:
            self.closing = True
            self._changed.notify()

    def fail(self, failure: EngineFailedError) -> list[Submission]:
        """Take no more submissions, and return those that wait."""
        with self._changed:
            self.failure = failure
            self.closing = True
            left = list(self._waiting)
            self._waiting.clear()
            self.bytes = 0
        return left

    def take(self, timeout: float, max_operations: int = GROUP_OPERATIONS, max_bytes: int = GROUP_BYTES) -> list[Submission] | None:
        """Wait until something was submitted, and return a group of it.

        Args:
            timeout: Seconds to wait at most.
            max_operations: The number of operations from which on the group is complete.
            max_bytes: The bytes of their values from which on it is.

        Returns:
            The group, which is empty if nothing was submitted in time; None if the queue is closed and empty.
        """
        with self._changed:
            if not self._waiting:
                if self.closing:
                    return None
                self._changed.wait(timeout)
            group = []
            operations = size = 0
            while self._waiting and operations < max_operations and size < max_bytes:
                submission = self._waiting.popleft()
                operations += len(submission.operations)
                size += submission.size
                group.append(submission)
            self.bytes -= size
        return group
