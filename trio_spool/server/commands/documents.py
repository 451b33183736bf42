"""Sub-documents: looking into a document at paths, and changing it there.

Small documents are looked into on the event loop, and edited in the writer's transaction. Large ones are read and edited in worker
threads, since everybody would wait for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Final

import trio

from ...engine import Concat, Edit, Item, Outcome, Planned, Problem, Step, StepResult, Virtual, is_json, lookup, plan_in_thread
from ..data import Bucket, virtual_attributes
from .errors import InvalidRequestError
from .expiry import expiry_in
from .items import JSON
from .workers import InWorker, Operate

# Bytes. Larger documents are for worker threads. Measured on two cores: to check 16 KiB takes 0.1 to 0.5 ms.
LARGE: Final = 16 * 1024
# Bytes. Of larger documents, few are edited at a time, since each edit takes about five times the memory. Picked, not measured.
_VERY_LARGE: Final = 1024 * 1024
# Seconds for which a thread that works on a large document sleeps after each piece of 32 KiB, so that others get the interpreter.
# Measured: without it, other clients wait for 5 ms whenever they need the interpreter.
_REST: Final = 50e-6
# How often an operation is planned anew because its item has changed meanwhile. Only stores of other clients do that: operations
# that are planned wait for each other. Picked, not measured.
_TRIES: Final = 10

# Threads that work on large documents take turns, a piece each. So the event loop competes with only one of them for the
# interpreter, and a short document need not wait for a long one.
_working = threading.Lock()


@contextmanager
def resting_in_thread() -> Iterator[Callable[[], None]]:
    """Return a block for work on a large document in a worker thread, and a function that it has to call after each piece.

    Raises:
        trio.Cancelled: From that function, once the task that waits for the work is cancelled.
    """
    working = True
    _working.acquire()

    def rest() -> None:
        nonlocal working
        _working.release()
        working = False
        time.sleep(_REST)
        trio.from_thread.check_cancelled()
        _working.acquire()
        working = True

    try:
        yield rest
    finally:
        if working:
            _working.release()


def detect_json_in_thread(value: bytes) -> int:
    """Return the datatype of a value of any size."""
    with resting_in_thread() as rest:
        return JSON if is_json(value, rest) else 0


def look_up(bucket: Bucket, vbucket: int, item: Item, steps: Sequence[Step]) -> list[StepResult]:
    """Return what is at the paths of a document. For a document above `LARGE`, call `look_up_in_thread`."""
    return list(lookup(item, tuple(steps), _virtual(bucket, vbucket)(item)))


def look_up_in_thread(bucket: Bucket, vbucket: int, item: Item, steps: Sequence[Step]) -> list[StepResult]:
    """Return what is at the paths of a document of any size."""
    with resting_in_thread() as rest:
        return list(lookup(item, tuple(steps), _virtual(bucket, vbucket)(item), rest))


def _virtual(bucket: Bucket, vbucket: int) -> Callable[[Item], Virtual]:
    return partial(virtual_attributes, vbucket_uuid=bucket.vbucket_uuid(vbucket), hybrid_time=bucket.engine.hybrid_time)


def edit(
    bucket: Bucket,
    key: bytes,
    vbucket: int,
    steps: tuple[Step, ...],
    *,
    expiry: int | None,
    keep_expiry: bool,
    create: bool,
    add: bool,
    cas: int,
    max_size: int,
    tombstones: bool = False,
    as_tombstone: bool = False,
    revive: bool = False,
) -> Edit:
    """Change a document at paths; an expiry of None keeps the document's, and is no expiry for a new document.

    Raises:
        InvalidRequestError: A document that is added can't have a CAS.
    """
    if add and cas:
        raise InvalidRequestError("a document that must not exist has no CAS")
    new = expiry_in(bucket, key, expiry or 0)
    absolute = None if expiry is None or keep_expiry else new
    return Edit(
        key, steps, expiry=absolute, new_expiry=new, datatype=JSON, create=create, add=add, cas=cas, max_size=max_size,
        virtual=_virtual(bucket, vbucket), inline=LARGE, tombstones=tombstones, as_tombstone=as_tombstone, revive=revive,
    )  # fmt: skip


async def plan_and_operate(
    bucket: Bucket, operation: Edit | Concat, in_worker: InWorker, size: int, operate: Operate | None = None
) -> Outcome:
    """Carry out an operation on a large document: work it out in a thread, and store the result if the document is still the same.

    Operations on one key that are carried out like this wait for each other, and so do most of those on very large documents.

    Args:
        bucket: Where the document is.
        operation: What to carry out.
        in_worker: Runs a function in a thread.
        size: About how many bytes the document has, with what the operation adds to it.
        operate: Stands in for that of the bucket.

    Returns:
        The outcome; CHANGED if the document was changed by others each time that the operation was worked out.
    """

    def plan_on_item_in_thread() -> Planned:
        item = bucket.read_in_thread(operation.key, tombstones=isinstance(operation, Edit) and operation.tombstones)
        with resting_in_thread() as rest:
            return plan_in_thread(operation, item, rest)

    async with bucket.turns.take(operation.key), bucket.planners if size > _VERY_LARGE else nullcontext():
        outcome = Outcome(Problem.CHANGED)
        for _ in range(_TRIES):
            (outcome,) = await (operate or bucket.operate)([await in_worker(plan_on_item_in_thread)])
            if outcome.problem is not Problem.CHANGED:
                break
        return outcome
