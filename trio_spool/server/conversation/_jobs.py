"""Commands that take long. Each runs in a task of its own, and replies with what a worker thread produces.

On an ordered connection one runs at a time, and nothing else is answered meanwhile. On an unordered one, up to `Settings.max_jobs`
overlap, with each other and with quick commands; the protocol says which commands wait for all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any, TypeVar

import trio

from ..._core import Sender, Spool, SpoolLimits, SpoolStatistics, open_spool
from ..._incidents import place_of
from ...engine import DamagedError
from ..data import Bucket
from ..settings import ServiceError
from ..shared import CUT_OFF, SMALL, Shared
from ._session import Session

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
        self._began = perf_counter()
        self._in_worker = False
        self._spool: Spool[bytes] | None = None
        self._spooling = False

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
            await self._sender.send(data)
        finally:
            self._jobs.waiting -= len(data)

    async def in_worker(self, function: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        """Run a function in a worker thread. It is waited for, also if cancelled: it must be short, or look for cancellation."""
        self._in_worker = True
        try:
            return await trio.to_thread.run_sync(function, limiter=limiter or self._limiter)
        finally:
            self._in_worker = False

    async def spool(self, frames: Iterator[bytes], *, in_bulk: bool = False) -> None:
        """Reply with frames that worker threads generate. Frames of other commands may come between two of them.

        If cancelled, only some of them may be sent, but each one whole.

        Args:
            frames: The frames.
            in_bulk: Whether `Settings.max_stream_rate` holds for them.
        """
        limits = self._count_spool()
        if self._limits is None and not (in_bulk and self.shared.throttle.on):
            self._spooling = True
            await self._sender.send_spool(frames, limiter=self._limiter)
        else:
            await self._spool_batches(frames, limits, in_bulk=in_bulk)

    async def spool_whole(self, fragments: Iterator[bytes]) -> None:
        """Reply with one frame of a file, whose pieces worker threads generate. If that fails half-way, the connection ends.

        No other command of the connection may run meanwhile if `Settings.max_stream_rate` is set.
        """
        limits = self._count_spool()
        if self._limits is not None or not self.shared.throttle.on:
            self._spooling = True
            await self._sender.send_spool(fragments, limiter=self._limiter, whole=True)
            return
        written = self._sender.statistics().fragments
        try:
            await self._spool_batches(fragments, limits, in_bulk=True)
        except BaseException:
            if self._sender.statistics().fragments > written:
                self._sender.abort()  # the client must not take what comes next for the rest
            raise

    def _count_spool(self) -> SpoolLimits:
        limits = self._limits or self.shared.settings.limits
        self.shared.buffers.add(limits.window + limits.batch)
        return limits

    async def _spool_batches(self, frames: Iterator[bytes], limits: SpoolLimits, *, in_bulk: bool) -> None:
        self._spool = open_spool(frames, limits=limits, limiter=self._limiter)
        try:
            async with self._spool as batches:
                async for batch in batches:
                    if in_bulk:
                        await self.shared.throttle.wait(len(batch))
                    if batch:
                        await self._send(batch)
        finally:
            self._jobs.past_spools += self._spool.statistics()
            self._spool = None

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

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics."""
        working = self._in_worker
        if self._spool is not None:
            working = self._spool.statistics().workers > 0
        elif self._spooling:
            working = self._sender.statistics().spools.workers > 0
        return {
            "command": self.command,
            "key": self.label,
            "connection": self.connection,
            "seconds": round(self.seconds(), 3),
            "state": "working" if working else "waiting",
        }


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
            shared.timings.record(context.command, context.seconds(), 1)
            self.running.discard(context)
            if self._waiting is not None:
                self._waiting.cancel()
            self._ended()

    async def _work(self, context: CommandContext, work: Work) -> None:
        try:
            if self.shared.buffers.tight:
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
                connection=self.connection, peer=context.session.peer, key=context.label,
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
