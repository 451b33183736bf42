"""The requests of one connection that are being answered, and their replies in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import trio

from ..._core import Sender
from ...engine import Edit, Get, Item, Operation, Outcome, Problem, Reader, StorageError, size_of
from ..data import Bucket, Spent
from ..settings import EXCHANGE_SIZE
from ..shared import Cause, Shared, Told
from ._jobs import Work
from ._session import Session
from ._waiting import Waits

# Encode the reply to a request from the outcome of its operation, or from an item or None. The types are the protocol's own.
Encode = Callable[[Any, Any, Outcome], bytes]
EncodeItem = Callable[[Any, Any, "Item | None"], bytes]


class Exchange:
    """What commands are given: the session, storage to read, and a sink for their replies. Never the connection.

    A reply is ready, or follows from the outcome of an operation. Operations are collected and submitted together. A read that
    comes after an operation joins them, and so sees its effect.

    A protocol may derive its own exchange, which encodes. It calls `finish` whenever the exchange is full, and after the last
    request that it has received.

    Attributes:
        shared: What all connections share.
        session: Who is served.
        began: When the requests that are being answered were received, by `time.perf_counter`.
        reader: Reads items of the bucket, in the event loop's thread. Only if `local`.
        local: Whether reads may run in the event loop's thread: else they are operations, or the work of a job.
        replies: The replies, in order; an empty one waits for the outcome of an operation.
        operations: The operations that are collected.
        pending: For each operation, its place in `replies`, and how the reply follows from the outcome.
        size: The bytes of `replies`, of `operations`, and of what those are expected to return; or of what waits to be queued.
        work: The long command that a request turned out to be.
        changes: Whether that command changes an item, so that what follows has to wait for it.
        cause: Why the connection ends once the replies are sent; None if it goes on.
        waits_for: What its operations or replies wait for, one of `Waits`; None while nothing waits.
        since: Since when, by `time.perf_counter`.
        noted: While slow commands are logged: what the protocol makes the names and keys of its commands of, with `tell`. Entries
            that stand for a run of requests have a list of them.
    """

    __slots__ = (
        "_bucket", "_counted", "_growth", "_max_operations", "_preparations", "_spent", "_turn", "began", "cause", "changes",
        "local", "noted", "operations", "pending", "reader", "replies", "session", "shared", "since", "size", "waits_for", "work",
    )  # fmt: skip

    def __init__(self, shared: Shared, session: Session) -> None:
        self.shared = shared
        self.session = session
        self.began = 0.0
        self._bucket: Bucket | None = None
        self.reader: Reader
        self.local = False
        self.replies: list[bytes] = []
        self.operations: list[Operation] = []
        self.pending: list[tuple[int, Encode, Any]] = []
        self._growth: dict[bytes, int] = {}  # by how much the operations make each item larger, as far as they are counted
        self._counted = 0
        self._max_operations = 0
        self._preparations: list[tuple[int, Callable[[], Operation]]] = []
        self.size = 0
        self.work: Work | None = None
        self.changes = False
        self.cause: Cause | None = None
        self.waits_for: Waits | None = None
        self.since = 0.0
        self.noted: list[tuple[Any, Any]] = []
        self._spent = Spent()
        self._turn = 0.0  # when the commands before those that are collected now had been answered
        self.follow_session()

    @property
    def bucket(self) -> Bucket:
        """The bucket that commands work on.

        If it was deleted while they ran, it is still this one: what has been carried out is answered.
        """
        bucket = self.session.bucket or self._bucket
        assert bucket is not None
        return bucket

    def follow_session(self) -> None:
        """Read from the bucket that the session works on."""
        bucket = self.session.bucket
        if bucket is not None and bucket is not self._bucket:
            self._release()
            self.reader, self._bucket = bucket.reader, bucket
            self._max_operations = bucket.max_operations
            self.local = bucket.engine.local

    def use(self, bucket: Bucket) -> None:
        """Work on a bucket from now on. No operation on another one may be pending."""
        self.session.use(bucket, selected=True)
        self.follow_session()

    def reply(self, data: bytes) -> None:
        """Reply with some bytes."""
        self.replies.append(data)
        self.size += len(data)

    def operate(self, request: Any, size: int, operation: Operation, encode: Encode) -> None:
        """Carry out an operation, and reply with what `encode` makes of the outcome, which may be nothing.

        Args:
            request: The request, for `encode`.
            size: The bytes that the request takes, and those that the outcome is expected to return.
            operation: The operation.
            encode: Makes the reply.
        """
        self.pending.append((len(self.replies), encode, request))
        self.replies.append(b"")
        self.operations.append(operation)
        self.size += size
        if len(self.operations) == self._max_operations:
            self.size += EXCHANGE_SIZE + 1  # it is full, until they are carried out

    def prepare(self, function: Callable[[], Operation]) -> None:
        """Let a worker thread make the next operation that is collected, before it is carried out: the one given replaces it."""
        self._preparations.append((len(self.operations), function))

    def read(self, key: bytes, request: Any, size: int, encode: EncodeItem, *, tombstones: bool = False) -> None:
        """Reply with what `encode` makes of an item, as all operations before leave it.

        Where reading has to wait, a worker thread reads.

        Args:
            key: The stored key of the item.
            request: The request, for `encode`.
            size: The bytes that the request takes, and those that the reply is expected to have.
            encode: Makes the reply.
            tombstones: Whether to read the tombstone of an item that does not exist.
        """
        if not self.local:
            self.later(lambda context: _read(context, self, key, request, encode, tombstones))
        elif self.operations:
            self.operate(request, size, Get(key, tombstones), partial(_encode_read, encode))
        else:
            self.reply(encode(self, request, self._find(key) if tombstones else self.reader.get(key)))

    def _find(self, key: bytes) -> Item | None:
        return self.reader.find(key) if self.bucket.engine.tombstones else self.reader.get(key)

    def expected_size(self, key: bytes, *, tombstones: bool = False) -> int:
        """Return about how many bytes an item will have; where reading has to wait, the most that it may have."""
        if not self.local:
            return self.shared.settings.max_item_size
        try:
            item = self._find(key) if tombstones else self.reader.get(key)
        except StorageError:
            item = None  # an operation before may replace it
        size = 0 if item is None else len(item.value) + len(item.xattrs)
        if self.operations:
            growth = self._growth
            for operation in self.operations[self._counted :]:
                if added := _growth_by(operation):
                    changed: bytes = operation.key  # type: ignore[union-attr]  # what adds to an item has its key
                    growth[changed] = growth.get(changed, 0) + added
            self._counted = len(self.operations)
            size += growth.get(key, 0)
        return size

    def encode_failure(self, request: Any, problem: Problem) -> bytes:
        """Encode the reply to a read that the store could not carry out."""
        raise NotImplementedError

    @property
    def is_full(self) -> bool:
        """Whether there is so much to be sent and carried out that this should come first."""
        return self.size > EXCHANGE_SIZE

    def later(self, work: Work, *, changes: bool = False) -> None:
        """Reply with what `work` makes. It runs in a task of its own, once the collected operations have been carried out.

        Args:
            work: As above.
            changes: Whether it changes an item. If so, what follows waits for it, even if commands may overlap: it sees the change.
        """
        self.work, self.changes = work, changes

    def close(self, cause: Cause) -> None:
        """Close the connection once everything has been sent."""
        self.cause = cause

    async def finish(self, sender: Sender) -> None:
        """Carry out the collected operations, and queue all replies.

        Raises:
            trio.BrokenResourceError: The client has gone, or does not read.
        """
        if self.operations:
            self._release()
            self.since = perf_counter()
            if self._preparations:
                await self._prepare()
            self.waits_for = Waits.WRITER
            outcomes = await self.bucket.operate(list(self.operations), self._spent if self.shared.slow.on else None)
            self.waits_for = None
            self._resolve(outcomes)
        data = self.take() if self.replies else b""
        if data:
            self.shared.buffers.add(len(data))
            try:
                sender.send_nowait(data)
            except trio.WouldBlock:
                self._release()
                self.size = len(data)
                self.waits_for, self.since = Waits.CLIENT, perf_counter()
                await sender.send(data)
                self.waits_for = None
                self._spent.client += perf_counter() - self.since
                self.size = 0
        if self.noted:
            self._look_at_time()
        if self.local:  # `_release`, without a call for each request of a client that waits for replies
            self.reader.release()

    def go_on(self) -> None:
        """Note that the commands that are collected next had to wait until now, for a long command."""
        self._turn = perf_counter()

    async def _prepare(self) -> None:
        self.waits_for = Waits.WORKER
        user, began = self.session.user, self.since
        limiter = self.shared.workers.limiter(self.bucket.name, "" if user is None else user.name)
        started = await trio.to_thread.run_sync(self._prepare_in_thread, limiter=limiter)  # type: ignore[arg-type]
        self._spent.worker_wait += started - began
        self._spent.worker += perf_counter() - started

    def _look_at_time(self) -> None:
        """Log the commands that have just been answered if they were slow, and forget them."""
        now, slow, noted, spent = perf_counter(), self.shared.slow, self.noted, self._spent
        arrived = self.session.arrived
        if now - arrived >= slow.limit:
            together = sum(len(each) if isinstance(each, list) else 1 for _, each in noted)
            client = self.session.client(self.session.bucket or self._bucket)
            queued = max(self.began, self._turn) - arrived
            slow.note(self._told(), together, client, now - arrived, max(queued, 0.0), spent)
            self._spent = Spent()
        elif spent.writer or spent.client:
            self._spent = Spent()
        noted.clear()
        self._turn = now

    def _told(self) -> Iterator[Told]:
        for what, each in self.noted:
            if isinstance(each, list):
                yield from (self.tell(what, one) for one in each)
            else:
                yield self.tell(what, each)

    def tell(self, what: Any, key: Any) -> Told:
        """Return the name and the key of a command that was noted. A protocol says it."""
        raise NotImplementedError

    def _prepare_in_thread(self) -> float:
        started = perf_counter()
        while self._preparations:
            index, function = self._preparations.pop()
            self.operations[index] = function()
        return started

    def _release(self) -> None:
        """Let the next read see what has been committed meanwhile."""
        if self.local:
            self.reader.release()

    def _resolve(self, outcomes: list[Outcome]) -> None:
        for (position, encode, request), outcome in zip(self.pending, outcomes, strict=True):
            try:
                self.replies[position] = encode(self, request, outcome)
            except Exception:
                self.replies[position] = self.failure(request)
        self.pending.clear()
        self.operations.clear()
        self._growth.clear()
        self._counted = 0

    def undo(self, replies: int, operations: int) -> None:
        """Forget what a command that failed has collected: all behind so many replies and operations."""
        del self.replies[replies:], self.operations[operations:], self.pending[operations:]
        self._preparations = [preparation for preparation in self._preparations if preparation[0] < operations]
        self._counted = min(self._counted, operations)
        self.work = None

    def name(self, request: Any) -> str:
        """Return the name of a request's command, for the log and the statistics. A protocol says it."""
        return ""

    def doing(self) -> list[str]:
        """Return the names of the commands that wait for their outcomes now."""
        return [self.name(request) for _, _, request in self.pending] if self.waits_for is not None else []

    def failure(self, request: Any) -> bytes:
        """Return the reply to a request whose command has just raised an error that is a bug. Call it where the error is caught."""
        raise

    def take(self) -> bytes:
        """Return all replies, and forget them."""
        replies = self.replies
        data = replies[0] if len(replies) == 1 else b"".join(replies)
        replies.clear()
        self.size = 0
        return data

    def seconds(self) -> float:
        """Return for how long the requests have been answered."""
        return perf_counter() - self.began


def _encode_read(encode: EncodeItem, exchange: Exchange, request: Any, outcome: Outcome) -> bytes:
    if outcome.problem in (None, Problem.NOT_FOUND):
        return encode(exchange, request, outcome.item)
    return exchange.encode_failure(request, outcome.problem)


def _growth_by(operation: Operation) -> int:
    """Return by about how many bytes an operation makes an item larger. Counters, of 20 digits, are not worth counting."""
    paths = sum(len(step.path) for step in operation.steps) if isinstance(operation, Edit) else 0
    return size_of(operation) + paths


async def _read(context: Any, exchange: Exchange, key: bytes, request: Any, encode: EncodeItem, tombstones: bool) -> None:
    item = await context.in_worker(lambda: context.bucket.read_in_thread(key, tombstones=tombstones))
    reply = encode(exchange, request, item)
    if reply:  # a quiet command does not answer everything
        await context.reply(reply)
