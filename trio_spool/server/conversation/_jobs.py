"""Commands that take long. Each runs in a task of its own, and replies with what a worker thread produces.

On an ordered connection one runs at a time, and nothing else is answered meanwhile. On an unordered one, up to `Settings.max_jobs`
overlap, with each other and with quick commands; the protocol says which commands wait for all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import trio

from ..._core import Sender, Spool, SpoolLimits, SpoolStatistics, open_spool
from ..._incidents import place_of
from ...engine import DamagedError, Operation, Outcome
from ..data import Bucket, Spent
from ..settings import ServiceError
from ..shared import CUT_OFF, SMALL, Shared, Told
from ._session import Session
from ._waiting import CutOff, Waits

T = TypeVar("T")


class CommandContext(ABC):
    """What a long command is given: a way to reply, and threads to work in. Never the connection.

    A protocol derives its own, which knows the request and encodes.

    Attributes:
        shared: What all connections share.
        session: Who is served.
        connection: The number of the connection.
        user: The name of the user, or nothing.
        command: The name of the command, for the statistics.
        label: What the command is about, for the statistics and the log.
        spent: Where its time has gone.
        waits_for: What it waits for, if that is known; see `waiting`.
        endless: Whether it goes on until the connection ends, which cuts nothing off then. A command sets it.
        count_items: Returns how many items it has sent, if these are not the pieces that it spools. A command sets it.

    Args:
        jobs: The running jobs of the connection.
        session: As above.
        command: As above.
        label: As above.
        alone: Whether no other job of the connection may run meanwhile, so that it need not share the connection's window.
    """

    def __init__(self, jobs: Jobs, session: Session, command: str, label: str, *, alone: bool) -> None:
        self.shared = jobs.shared
        self.session = session
        self.connection = jobs.connection
        self.command = command
        self.label = label
        self._bucket = session.bucket
        self._jobs = jobs
        self._sender = jobs.sender
        self._limits = None if alone else jobs.part
        self.user = "" if session.user is None else session.user.name
        # Any: what takes it names Trio's limiter, from which none can be derived.
        self._limiter: Any = self.shared.workers.limiter("" if session.bucket is None else session.bucket.name, self.user)
        self.spent = Spent()
        self.waits_for: Waits | None = None
        self.endless = False
        self.count_items: Callable[[], int] | None = None
        self._arrived = session.arrived
        self._began = self._since = perf_counter()
        self._in_worker = False
        self._spool: Spool[bytes] | None = None
        self._spooling = False  # by the sender's spool
        self._sent = self._pieces = 0

    @property
    def bucket(self) -> Bucket:
        """The bucket that the command works on. Only for commands whose rule asks for one."""
        assert self._bucket is not None
        return self._bucket

    @abstractmethod
    async def refuse(self, error: ServiceError) -> None:
        """Reply that the command was refused, and why."""

    @abstractmethod
    async def fail(self) -> None:
        """Reply that the command failed because of a bug, or of something that the log tells about."""

    async def reply(self, data: bytes) -> None:
        """Reply with some bytes, which is whole replies.

        If cancelled, they have not been sent.
        """
        self.shared.buffers.add(len(data))
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        self._jobs.waiting += len(data)
        try:
            with self.waiting(Waits.CLIENT):
                await self._sender.send(data)
            self._sent += len(data)
        finally:
            self._jobs.waiting -= len(data)

    @contextmanager
    def waiting(self, what: Waits) -> Iterator[None]:
        """Note what the command waits for in this block, unless it says something else there."""
        before, self.waits_for, self._since = self.waits_for, what, perf_counter()
        try:
            yield
        finally:
            if what is Waits.CLIENT:
                self.spent.client += perf_counter() - self._since
            self.waits_for, self._since = before, perf_counter()

    async def in_worker(self, function: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        """Run a function in a worker thread. It is waited for, also if cancelled: it must be short, or look for cancellation."""
        began: float | None = None

        def run_in_thread() -> T:
            nonlocal began
            began = perf_counter()
            self._in_worker = True
            return function()

        spent, asked = self.spent, perf_counter()
        with self.waiting(Waits.WORKER):
            try:
                return await trio.to_thread.run_sync(run_in_thread, limiter=limiter or self._limiter)
            finally:
                self._in_worker = False
                ended = perf_counter()
                spent.worker_wait += (ended if began is None else began) - asked
                spent.worker += 0.0 if began is None else ended - began

    async def operate(self, operations: list[Operation]) -> list[Outcome]:
        """Hand operations to the writer thread of the bucket: see `Bucket.operate`."""
        with self.waiting(Waits.WRITER):
            return await self.bucket.operate(operations, self.spent)

    async def spool(self, frames: Iterator[bytes], *, in_bulk: bool = False) -> None:
        """Reply with frames that worker threads generate. Frames of other commands may come between two of them.

        If cancelled, only some of them may be sent, but each one whole.

        Args:
            frames: The frames.
            in_bulk: Whether `Settings.max_stream_rate` holds for them.
        """
        limits = self._count_spool()
        if self._limits is None and not (in_bulk and self.shared.throttle.on):
            await self._send_spool(frames)
        else:
            await self._spool_batches(frames, limits, in_bulk=in_bulk)

    async def spool_whole(self, fragments: Iterator[bytes]) -> None:
        """Reply with one frame of a file, whose pieces worker threads generate. If that fails half-way, the connection ends.

        No other command of the connection may run meanwhile if `Settings.max_stream_rate` is set.
        """
        limits = self._count_spool()
        written = self._sender.statistics().fragments
        if self._limits is not None or not self.shared.throttle.on:
            await self._send_spool(fragments, whole=True)
            return
        try:
            await self._spool_batches(fragments, limits, in_bulk=True)
        except BaseException as exc:
            if self._sender.statistics().fragments > written:
                lost = isinstance(exc, (trio.BrokenResourceError, trio.ClosedResourceError))
                self._jobs.incomplete = isinstance(exc, Exception) and not lost
                self._sender.abort()  # the client must not take what comes next for the rest
            raise

    def _count_spool(self) -> SpoolLimits:
        limits = self._limits or self.shared.settings.limits
        self.shared.buffers.add(limits.window + limits.batch)
        return limits

    async def _send_spool(self, frames: Iterator[bytes], *, whole: bool = False) -> None:
        before = self._sender.spool_statistics()
        self._spooling = True
        try:
            await self._sender.send_spool(frames, limiter=self._limiter, whole=whole)
        finally:
            self._spooling = False
            spools = self._sender.spool_statistics()
            self._sent += spools.bytes - before.bytes
            self._count_spooled(spools, before)

    async def _spool_batches(self, frames: Iterator[bytes], limits: SpoolLimits, *, in_bulk: bool) -> None:
        self._spool = open_spool(frames, limits=limits, limiter=self._limiter)
        try:
            async with self._spool as batches:
                async for batch in batches:
                    if in_bulk and self.shared.throttle.on:
                        with self.waiting(Waits.RATE):
                            await self.shared.throttle.wait(len(batch))
                    if batch:
                        await self._send(batch)
        finally:
            statistics = self._spool.statistics()
            self._jobs.past_spools += statistics
            self._count_spooled(statistics, SpoolStatistics())
            self._spool = None

    def _count_spooled(self, now: SpoolStatistics, before: SpoolStatistics) -> None:
        self._pieces += now.fragments - before.fragments
        self.spent.client += now.blocked_seconds - before.blocked_seconds
        self.spent.worker_wait += now.waited_seconds - before.waited_seconds
        self.spent.worker += now.held_seconds - before.held_seconds

    @property
    def held(self) -> int:
        """How many bytes its own spool holds."""
        return 0 if self._spool is None else self._spool.held

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its own spool. Where it has the connection for itself, those are the sender's."""
        return SpoolStatistics() if self._spool is None else self._spool.statistics()

    def seconds(self) -> float:
        """Return for how long the command has been running."""
        return perf_counter() - self._began

    def look_at_time(self) -> None:
        """Log the command, which has ended, if it was slow."""
        slow, seconds = self.shared.slow, perf_counter() - self._arrived
        if seconds >= slow.limit:
            slow.note((self.tell(),), 1, self.session.client(self._bucket), seconds, self._began - self._arrived, self.spent)

    def tell(self) -> Told:
        """Return the command's name, and its key or what else it is about. A protocol whose commands have keys says it."""
        return Told(self.command, self.label.encode(), stored=False)

    def waits(self) -> Waits | None:
        """Return what the command waits for now; None if it is at work."""
        if self._in_worker:
            return None
        if self._spool is None and not self._spooling:
            return self.waits_for
        if self.waits_for is not None:  # until a batch may be sent
            return self.waits_for
        spools = self._sender.spool_statistics() if self._spool is None else self._spool.statistics()
        if spools.workers:
            return None
        return Waits.WORKER if spools.waiting else Waits.CLIENT

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics."""
        waits = self.waits()
        return {
            "command": self.command,
            "key": self.label,
            "connection": self.connection,
            "seconds": round(self.seconds(), 3),
            "state": "working" if waits is None and (self._in_worker or self._spool is not None or self._spooling) else "waiting",
            "waits_for": "" if waits is None else waits.value,
        }

    def cut_off(self) -> CutOff:
        """Describe what it has done, when it has been cut off."""
        items = self._pieces if self.count_items is None else self.count_items()
        return CutOff(self.command, self._sent, items, self.seconds())


Work = Callable[[Any], Awaitable[None]]


class Jobs:
    """The long commands of one connection that are running.

    Attributes:
        shared: What all connections share.
        connection: The number of the connection.
        sender: The connection's sender.
        part: The limits of a spool that shares the connection's window with those of other jobs.
        running: The contexts of the running commands.
        waiting: The bytes of replies of commands that wait for room in the sender's queue.
        past_spools: The counters of those spools of commands that overlapped which have ended.
        cut_off: The commands that were cut off: these are at most those that ran when the connection ended.
        incomplete: Whether a reply failed half-way, so that the connection had to be broken off.

    Args:
        shared: As above.
        nursery: Where the commands run.
        connection: As above.
        sender: As above.
        ended: Called whenever a command has ended.
    """

    def __init__(self, shared: Shared, nursery: trio.Nursery, connection: int, sender: Sender, ended: Callable[[], None]) -> None:
        self.shared = shared
        self.connection = connection
        self.sender = sender
        self._nursery = nursery
        self._ended = ended
        self.running: set[CommandContext] = set()
        self.past_spools = SpoolStatistics()
        self._waiting: trio.CancelScope | None = None  # of `wait`; cancelled whenever a command has ended
        self.waiting = 0
        self.cut_off: list[CutOff] = []
        self.incomplete = False
        limits = shared.settings.limits
        window = max(1, limits.window // shared.settings.max_jobs)
        self.part = SpoolLimits(window=window, batch=min(limits.batch, window))

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of all spools of commands that overlapped."""
        return sum((context.spool_statistics() for context in self.running), self.past_spools)

    @property
    def held(self) -> int:
        """How many bytes its commands hold, apart from what the sender does."""
        return self.waiting + sum(context.held for context in self.running)

    def start(self, context: CommandContext, work: Work) -> None:
        """Start a command."""
        self.running.add(context)
        self._nursery.start_soon(self._run, context, work)

    async def _run(self, context: CommandContext, work: Work) -> None:
        shared, answered = self.shared, False
        shared.counters.streams += 1
        try:
            try:
                await self._work(context, work)
                answered = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client has gone; the reader finds out
        finally:
            if not answered:
                shared.timings.failed(context.command, CUT_OFF)
                if not context.endless:
                    self.cut_off.append(context.cut_off())
            shared.timings.record(context.command, context.seconds(), 1)
            if shared.slow.on:
                context.look_at_time()
            self.running.discard(context)
            if self._waiting is not None:
                self._waiting.cancel()
            self._ended()

    async def _work(self, context: CommandContext, work: Work) -> None:
        try:
            if self.shared.buffers.tight:
                with context.waiting(Waits.ROOM):
                    await self.shared.buffers.wait_room(self.connection, SMALL)  # what it holds in a worker is counted with those
            await work(context)
        except ServiceError as exc:
            await context.refuse(exc)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except DamagedError:  # which the engine has logged
            self.shared.counters.stream_failures += 1
            await context.fail()
        except Exception as exc:
            self.shared.counters.stream_failures += 1
            self.shared.incidents.report(
                "command failed", place=f"{context.command}: {place_of(exc)}", level="error", error=exc,
                connection=self.connection, peer=context.session.peer, **self.shared.key_of(context.label),
            )  # fmt: skip
            await context.fail()

    async def wait(self, max_running: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Wait until no more than `max_running` commands run.

        Args:
            max_running: As above.
            meanwhile: Runs until then. If it returns, the client has gone, and all commands are cancelled.
        """
        await self._wait(lambda: len(self.running) <= max_running, meanwhile)

    async def wait_for(self, context: CommandContext, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Wait until one command has ended. `meanwhile` is that of `wait`."""
        await self._wait(lambda: context not in self.running, meanwhile)

    async def _wait(self, is_over: Callable[[], bool], meanwhile: Callable[[], Awaitable[None]]) -> None:
        # trio_util.move_on_when says this in one line, and starts a task for each wait: a fifth of the processor time of a STAT of
        # one row went there.
        while not is_over():
            with trio.CancelScope() as self._waiting:
                await meanwhile()
                self._nursery.cancel_scope.cancel()
                await trio.sleep_forever()
            self._waiting = None
