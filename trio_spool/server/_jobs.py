"""Commands that take long. Each runs in a task of its own, and replies with what a worker thread produces.

On an ordered connection there is one at a time, and nothing else is answered meanwhile. On an unordered one up to `MOST_JOBS`
overlap, with each other and with quick commands; a command that is not in `REORDERABLE`, or that says so itself, is a barrier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import trio

from .._core import Sender, Spool, SpoolLimits, open_spool
from ..mcbp import LOUD, FrameInfoId, Opcode, Request, Status, opcode_name

if TYPE_CHECKING:
    from ._buckets import Bucket
    from ._exchange import Exchange
    from ._service import Service
    from ._session import Session

T = TypeVar("T")

# Of one connection at a time.
MOST_JOBS = 4

_REORDERABLE = frozenset(
    {
        Opcode.GET, Opcode.GETK, Opcode.SET, Opcode.ADD, Opcode.REPLACE, Opcode.DELETE, Opcode.INCREMENT, Opcode.DECREMENT,
        Opcode.APPEND, Opcode.PREPEND, Opcode.TOUCH, Opcode.GAT, Opcode.GATK, Opcode.STAT, Opcode.GET_KEYS,
        Opcode.RANGE_SCAN_CREATE, Opcode.RANGE_SCAN_CONTINUE, Opcode.RANGE_SCAN_CANCEL, Opcode.PREPARE_SNAPSHOT,
        Opcode.GET_FILE_FRAGMENT, Opcode.GET_META, Opcode.GET_LOCKED, Opcode.UNLOCK_KEY, Opcode.GET_RANDOM_KEY,
        Opcode.OBSERVE_SEQNO, Opcode.SUBDOC_GET, Opcode.SUBDOC_EXISTS, Opcode.SUBDOC_GET_COUNT, Opcode.SUBDOC_MULTI_LOOKUP,
        Opcode.SUBDOC_DICT_ADD, Opcode.SUBDOC_DICT_UPSERT, Opcode.SUBDOC_DELETE, Opcode.SUBDOC_REPLACE,
        Opcode.SUBDOC_ARRAY_PUSH_LAST, Opcode.SUBDOC_ARRAY_PUSH_FIRST, Opcode.SUBDOC_ARRAY_INSERT,
        Opcode.SUBDOC_ARRAY_ADD_UNIQUE, Opcode.SUBDOC_COUNTER, Opcode.SUBDOC_MULTI_MUTATION,
    }
)  # fmt: skip
REORDERABLE = tuple(LOUD.get(opcode, opcode) in _REORDERABLE for opcode in range(256))


def is_barrier(request: Request) -> bool:
    """Whether a request is answered after everything before it, and before everything behind it."""
    return not REORDERABLE[request.opcode] or any(info.id == FrameInfoId.BARRIER for info in request.frame_infos)


class Answer:
    """What a long command is given: its request, a way to reply, and threads to work in. Never the connection.

    Attributes:
        service: What all connections share.
        request: The request.
        exchange: What a reply is encoded for.
        session: What its connection has negotiated.
        connection: The number of its connection.
        key: What the command is about, for the statistics.
    """

    def __init__(
        self, service: Service, request: Request, exchange: Exchange, connection: int, sender: Sender, limits: SpoolLimits | None
    ) -> None:
        self.service = service
        self.request = request
        self.exchange = exchange
        self.session: Session = exchange.session
        self._bucket = self.session.bucket
        self.connection = connection
        self.key = request.key.decode("utf-8", "replace")
        self._sender = sender
        self._limits = limits  # of a spool that shares the connection with others; None if it has it for itself
        self._began = perf_counter()
        self._in_worker = False
        self._spool: Spool | None = None
        self._spooling = False

    @property
    def bucket(self) -> Bucket:
        """What the command works on, if it needs a bucket."""
        assert self._bucket is not None
        return self._bucket

    def encode(self, *, status: int = 0, value: bytes = b"", datatype: int = 0) -> bytes:
        """Encode a reply: see `Exchange.encode`."""
        return self.exchange.encode(self.request, status=status, value=value, datatype=datatype)

    async def reply(self, frame: bytes) -> None:
        """Reply with one frame."""
        await self._sender.send(self.session.timed(frame, self.seconds()))

    async def error(self, status: int, context: str = "") -> None:
        """Reply with an error."""
        await self.reply(self.session.error(self.request.opcode, self.request.opaque, status, context))

    async def in_worker(self, function: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        """Run something in a worker thread. It must be short, or look whether it is cancelled: it is waited for."""
        self._in_worker = True
        try:
            return await trio.to_thread.run_sync(function, limiter=limiter or self.service.limiter)
        finally:
            self._in_worker = False

    async def spool(self, frames: Iterator[bytes]) -> None:
        """Reply with frames that are generated in worker threads. Between two of them, there may be those of other commands.

        If cancelled, only some of them may be sent, but each one whole.
        """
        if self._limits is None:
            self._spooling = True
            await self._sender.send_spool(frames, limiter=self.service.limiter)
            return
        self._spool = open_spool(frames, limits=self._limits, limiter=self.service.limiter)
        async with self._spool as batches:
            async for batch in batches:
                if batch:
                    await self._sender.send(batch)

    async def spool_whole(self, fragments: Iterator[bytes]) -> None:
        """Reply with one frame, whose pieces are generated in worker threads. If that fails half-way, the connection ends."""
        self._spooling = True
        await self._sender.send_spool(fragments, limiter=self.service.limiter, whole=True)

    def seconds(self) -> float:
        """Return how long it has been running."""
        return perf_counter() - self._began

    def describe(self) -> dict[str, object]:
        """Describe it, for the statistics."""
        working = self._in_worker
        if self._spool is not None:
            working = self._spool.statistics().workers > 0
        elif self._spooling:
            working = self._sender.statistics().spools.workers > 0
        return {
            "command": opcode_name(self.request.opcode),
            "key": self.key,
            "connection": self.connection,
            "seconds": round(self.seconds(), 3),
            "state": "working" if working else "waiting",
        }


Work = Callable[[Answer], Awaitable[None]]


class Jobs:
    """The long commands of one connection that are running.

    Args:
        service: What all connections share.
        nursery: Where they run.
        connection: The connection's number.
        sender: The connection's.
        ended: Is called when one has ended.
    """

    def __init__(self, service: Service, nursery: trio.Nursery, connection: int, sender: Sender, ended: Callable[[], None]) -> None:
        self._service = service
        self._nursery = nursery
        self._connection = connection
        self._sender = sender
        self._ended = ended
        self._waiting: trio.CancelScope | None = None
        self.running: set[Answer] = set()
        limits = service.settings.limits
        window = max(1, limits.window // MOST_JOBS)
        self._shared = SpoolLimits(window=window, batch=min(limits.batch, window))

    def start(self, request: Request, exchange: Exchange, work: Work) -> None:
        """Start one."""
        limits = self._shared if exchange.session.unordered else None
        answer = Answer(self._service, request, exchange, self._connection, self._sender, limits)
        self.running.add(answer)
        self._nursery.start_soon(self._run, answer, work)

    async def _run(self, answer: Answer, work: Work) -> None:
        service = self._service
        service.counters.streams += 1
        try:
            try:
                await work(answer)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer is gone; reading finds out
            except Exception:
                service.counters.stream_failures += 1
                name = opcode_name(answer.request.opcode)
                service.log.exception("command failed", connection=self._connection, command=name, key=answer.key)
                try:
                    await answer.error(Status.INTERNAL, "see the service's log")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # it was too late for that
        finally:
            service.timings.record(answer.request.opcode, answer.seconds(), 1)
            self.running.discard(answer)
            if self._waiting is not None:
                self._waiting.cancel()
            self._ended()

    async def wait(self, most: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Wait until no more than `most` are running; run `meanwhile` until then, and if it returns, end them all."""
        while len(self.running) > most:
            with trio.CancelScope() as self._waiting:
                await meanwhile()
                self._nursery.cancel_scope.cancel()
                await trio.sleep_forever()
            self._waiting = None
