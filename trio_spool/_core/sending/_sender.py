"""Sender: what tasks ask of the one task that writes to a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._errors import SpoolClosedError, SpoolFullError
from .._limits import SpoolLimits
from .._statistics import SenderStatistics, SpoolStatistics
from ..handover import Handoff, as_bytes
from ..producers import Fragment, Producer, prepare, refuse_own_producer
from ._job import SpoolJob
from ._send_task import SendTask, protected


class Sender:
    """Sends the bytes that any number of tasks queue, from a task of its own. Made by `open_sender`."""

    def __init__(self, task: SendTask, limits: SpoolLimits) -> None:
        self._task = task
        self._queue = task.queue
        self._limits = limits
        self._spools = SpoolStatistics()  # of those that have ended
        self._jobs: set[SpoolJob] = set()  # the others: also those whose producer goes on although nothing more is sent

    @protected
    def send_nowait(self, data: Fragment) -> None:
        """Queue bytes, which are sent in the order of the calls.

        Args:
            data: Bytes-like, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Raises:
            TypeError: `data` is not bytes-like.
            SpoolFullError: A full window of bytes is queued already. This is a `trio.WouldBlock`.
            SpoolBrokenError: The peer is gone, or has stopped reading. This is a `trio.BrokenResourceError`.
            SpoolClosedError: The sender's block has ended. This is a `trio.ClosedResourceError`.
        """
        if self._queue.closed:
            self._raise_if_over()
        if self._queue.full:
            raise SpoolFullError(f"{self._queue.size} bytes are queued, a full window; send waits until there is room")
        self._put(data)

    @protected
    async def send(self, data: Fragment) -> None:
        """Queue bytes, after waiting while a full window of them is queued already.

        When this returns, the bytes need not have been sent: see `drain`. If this is cancelled, nothing was queued.

        Args:
            data: Bytes-like, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Raises:
            TypeError: `data` is not bytes-like.
            SpoolBrokenError: The peer is gone, or has stopped reading. This is a `trio.BrokenResourceError`.
            SpoolClosedError: The sender's block has ended. This is a `trio.ClosedResourceError`.
            RuntimeError: A producer of this sender called it, and would wait for its own end.
        """
        refuse_own_producer(self)
        await self._task.loop.checkpoint_if_cancelled()
        if self._queue.closed:
            self._raise_if_over()
        while self._queue.full:
            await self._queue.wait_room()
            self._raise_if_over()
        self._put(data)
        await self._task.loop.cancel_shielded_checkpoint()

    @protected
    async def send_spool(
        self,
        producer: Producer,
        *,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
        whole: bool = False,
    ) -> None:
        """Run blocking code in worker threads and send its output, in one piece.

        The producer starts when everything queued before it has been sent, so that only one of several spools holds memory.

        This returns once the producer has ended and its last byte was given to the stream. If it is cancelled, it first waits
        until the producer has stopped; any prefix of the output may have been sent.

        If it fails, and the error leaves the sender's block, the connection is reset, so that the peer can't take a part of the
        output for the whole. If you catch the error inside the block, tell the peer yourself: send something that says so, or call
        `abort`.

        Args:
            producer: As for `open_spool`.
            limits: By default, those of the sender.
            limiter: As for `open_spool`.
            stop: As for `open_spool`; also called if the peer is gone.
            name: As for `open_spool`.
            whole: Whether the output is of no use unless it is complete, as after a header with its length. If the producer then
                fails or is stopped after a part was sent, the connection is reset at once, so that the peer can't take whatever
                comes next for the rest. The header belongs to the output: emit it as the first fragment.

        Raises:
            TypeError: `producer` can't be a producer, or `stop` is not a function.
            SpoolBrokenError: The peer is gone, or has stopped reading; the producer has been stopped. This is a
                `trio.BrokenResourceError`.
            SpoolClosedError: The sender's block has ended. This is a `trio.ClosedResourceError`.
            RuntimeError: A producer of this sender called it, and would wait for its own end.
            Exception: The producer raised it; everything emitted before was given to the stream.
        """
        refuse_own_producer(self)
        turns = prepare(producer, stop=stop, name=name, sender=self)
        del producer
        self._task.loop.check_limiter(limiter)
        self._raise_if_over()
        job = SpoolJob(Handoff(limits if limits is not None else self._limits, self._task.loop), whole)
        self._jobs.add(job)
        try:
            await job.run(turns, limiter, self._queue.put)
        finally:
            self._withdraw(job)
        handoff = job.handoff
        if handoff.failure is not None and (job.whole or handoff.stopped or self._task.broken is None):
            raise handoff.failure
        self._task.raise_if_broken()

    @protected
    async def drain(self) -> None:
        """Wait until the stream has accepted everything that was queued before this call.

        Raises:
            SpoolBrokenError: The stream will not accept it: the peer is gone, or has stopped reading. This is a
                `trio.BrokenResourceError`.
            SpoolClosedError: The sender's block has ended. This is a `trio.ClosedResourceError`.
            RuntimeError: A producer of this sender called it, and would wait for its own end.
        """
        refuse_own_producer(self)
        self._raise_if_over()
        mark = self._task.loop.event()
        self._queue.put(mark)
        await mark.wait()
        self._task.raise_if_broken()

    async def offered(self) -> None:
        """Wait until everything queued has been offered to the stream, which has accepted it or has to wait for the peer.

        This is for a task that reads requests from the same connection: asking the system for more input before the replies have
        gone out would only delay them.
        """
        if self._queue.prompt:
            await self._queue.wait_offered()
        else:
            await self._task.loop.checkpoint_if_cancelled()

    @protected
    def abort(self) -> None:
        """Break the connection off at once, so that the peer can tell that it did not get everything.

        A TCP connection is reset: the peer gets an error (`ConnectionResetError`) where it would otherwise see the end of the
        stream. Bytes that the system has accepted and the peer has not yet received are lost. A Unix socket has no such thing:
        there the peer sees the end. What is queued is dropped, producers are stopped, and tasks that send get `SpoolBrokenError`.
        """
        self._task.abort()

    @property
    def queued(self) -> int:
        """How many bytes are queued, or were taken from the queue and are not yet sent."""
        return self._queue.size

    @property
    def held(self) -> int:
        """How many bytes it holds in all: those that are queued, and those of its spools."""
        return self._queue.size + self._task.writing + sum(job.handoff.held for job in self._jobs)

    @property
    def broken(self) -> str | None:
        """Why nothing can be sent any more; None while that is possible, or if the block has ended and all has been sent."""
        return self._task.broken

    @property
    def incomplete(self) -> bool:
        """Whether nothing can be sent any more because a spool that had to be `whole` was not completed."""
        return self._task.incomplete

    @property
    def blocked_seconds(self) -> float:
        """For how long the peer has been taking nothing of what is being written; 0 if nothing waits for it."""
        return self._task.outlet.waiting_seconds()

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of all its spools together, as they are now."""
        spools = self._spools
        for job in self._jobs:
            spools += job.handoff.statistics()
        return spools

    @property
    def stalled(self) -> str | None:
        """Why the peer was given up, if that was because it took nothing for as long as it may."""
        return self._task.broken if self._task.stalled else None

    def statistics(self) -> SenderStatistics:
        """Return the counters as they are now."""
        queue, outlet, spools = self._queue, self._task.outlet, self.spool_statistics()
        return SenderStatistics(
            fragments=queue.fragments + spools.fragments,
            bytes=outlet.bytes,
            batches=outlet.batches,
            wakeups=queue.wakeups + spools.wakeups,
            turns=spools.turns,
            blocked_seconds=outlet.blocked_seconds,
            high_water=max(queue.high_water, spools.high_water),
            queued=queue.size,
            spools=spools,
        )

    def _raise_if_over(self) -> None:
        if self._task.closing:
            raise SpoolClosedError("this sender's block has ended")
        self._task.raise_if_broken()

    def _put(self, data: Fragment) -> None:
        if type(data) is not bytes:
            data = as_bytes(data)
        self._queue.put_bytes(data)

    def _withdraw(self, job: SpoolJob) -> None:
        """Forget a job whose task waits for it no longer; its turn may not have come."""
        self._queue.withdraw(job)
        self._jobs.discard(job)
        self._spools += job.handoff.statistics()
