"""open_sender: the one task that writes to a stream.

No other module of this project writes to a socket: a test of the source checks that.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Union

import trio

from ._handoff import Handoff
from ._job import SpoolJob
from ._limits import SpoolLimits
from ._producer import Fragment, Producer, prepare
from ._statistics import SenderStatistics, SpoolStatistics
from ._trio import trio_loop
from ._workers import raise_the_one

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# The bytes of one write to a stream that is not a plain socket. Such a stream does not say how much of a write it has taken, so
# taking all of a slice counts as progress. Picked, not measured: it is also the size of the largest TLS record.
SLICE = 16 * 1024


_Entry = Union[bytes, SpoolJob, trio.Event]


class Sender:
    """Sends the bytes that any number of tasks queue, from a task of its own. Made by `open_sender`."""

    def __init__(self, stream: trio.abc.SendStream, limits: SpoolLimits, send_timeout: float) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._limits = limits
        self._send_timeout = send_timeout
        self._queue: deque[_Entry] = deque()
        self._queued = 0
        self._parked: trio.lowlevel.Task | None = None  # the sender's task, while it has nothing to do
        self._prompt = False  # whether that task has been woken, and has not yet waited for anything but its turn to run
        self._offered = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._closing = False
        self._broken: str | None = None
        self._current: Handoff | None = None
        self._spools = SpoolStatistics()
        self._fragments = 0
        self._bytes = 0
        self._batches = 0
        self._wakeups = 0
        self._blocked_seconds = 0.0
        self._high_water = 0

    def send_nowait(self, data: Fragment) -> None:
        """Queue bytes, which are sent in the order of the calls.

        Args:
            data: Bytes-like, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Raises:
            TypeError: `data` is not bytes-like.
            trio.WouldBlock: A full window of bytes is queued already.
            trio.BrokenResourceError: The peer is gone, or has stopped reading.
            trio.ClosedResourceError: The sender's block has ended.
        """
        if self._broken is not None or self._closing:
            self._raise_if_over()
        if self._queued >= self._limits.window:
            raise trio.WouldBlock
        self._put(data)

    async def send(self, data: Fragment) -> None:
        """Queue bytes, after waiting while a full window of them is queued already.

        When this returns, the bytes need not have been sent: see `drain`. If this is cancelled, nothing was queued.

        Args:
            data: Bytes-like, contiguous in memory. It is copied unless it is `bytes`, so it may be changed afterwards.

        Raises:
            TypeError: `data` is not bytes-like.
            trio.BrokenResourceError: The peer is gone, or has stopped reading.
            trio.ClosedResourceError: The sender's block has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_over()
        while self._queued >= self._limits.window:
            await self._room.park()
            self._raise_if_over()
        self._put(data)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_spool(
        self,
        producer: Producer,
        *,
        limits: SpoolLimits | None = None,
        limiter: trio.CapacityLimiter | None = None,
        whole: bool = False,
    ) -> None:
        """Run blocking code in worker threads and send its output, in one piece.

        The producer starts when everything queued before it has been sent, so that only one of several spools holds memory.

        This returns once the producer has ended and its last byte was given to the stream. If it is cancelled, it first waits
        until the producer has stopped; any prefix of the output may have been sent.

        Args:
            producer: As for `open_spool`.
            limits: By default, those of the sender.
            limiter: As for `open_spool`.
            whole: Whether the output is of no use unless it is complete, as after a header with its length. If the producer then
                fails or is stopped after a part was sent, the stream is closed, so that the peer can't take whatever comes next
                for the rest. The header belongs to the output: emit it as the first fragment.

        Raises:
            TypeError: `producer` can't be a producer.
            trio.BrokenResourceError: The peer is gone, or has stopped reading; the producer has been stopped.
            trio.ClosedResourceError: The sender's block has ended.
            Exception: The producer raised it; everything emitted before was given to the stream.
        """
        turns = prepare(producer)
        del producer
        self._raise_if_over()
        handoff = Handoff(limits if limits is not None else self._limits, trio_loop())
        job = SpoolJob(handoff, whole)
        self._enqueue(job)
        reached = False
        try:
            await job.reached.wait()
            reached = self._broken is None
        finally:
            if not reached:
                handoff.close()
            try:
                # Even if the job's turn has not come, or came as this was cancelled: the producer is closed, and the sender's task
                # is told.
                await job.run(turns, limiter)
            finally:
                self._spools += handoff.statistics()
        if handoff.failure is not None and (job.whole or handoff.stopped or self._broken is None):
            raise handoff.failure
        self._raise_if_broken()

    async def drain(self) -> None:
        """Wait until the stream has accepted everything that was queued before this call.

        Raises:
            trio.BrokenResourceError: The stream will not accept it: the peer is gone, or has stopped reading.
            trio.ClosedResourceError: The sender's block has ended.
        """
        self._raise_if_over()
        event = trio.Event()
        self._enqueue(event)
        await event.wait()
        self._raise_if_broken()

    async def offered(self) -> None:
        """Wait until everything queued has been offered to the stream, which has accepted it or has to wait for the peer.

        This is for a task that reads requests from the same connection: asking the system for more input before the replies have
        gone out would only delay them.
        """
        if self._prompt:
            await self._offered.park()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def statistics(self) -> SenderStatistics:
        """Return the counters as they are now."""
        spools = self._spools
        if self._current is not None:
            spools += self._current.statistics()
        return SenderStatistics(
            fragments=self._fragments + spools.fragments,
            bytes=self._bytes,
            batches=self._batches,
            wakeups=self._wakeups + spools.wakeups,
            turns=spools.turns,
            blocked_seconds=self._blocked_seconds,
            high_water=max(self._high_water, spools.high_water),
            queued=self._queued,
            spools=spools,
        )

    def _raise_if_over(self) -> None:
        self._raise_if_broken()
        if self._closing:
            raise trio.ClosedResourceError("this sender's block has ended")

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise trio.BrokenResourceError(self._broken)

    def _put(self, data: Fragment) -> None:
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # not bytes(data), which turns a number into zeros
        self._queued += len(data)
        if self._queued > self._high_water:
            self._high_water = self._queued
        self._fragments += 1
        self._enqueue(data)

    def _enqueue(self, entry: _Entry) -> None:
        self._queue.append(entry)
        if self._parked is not None:
            self._wakeups += 1
            self._prompt = True
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    def _not_prompt(self) -> None:
        self._prompt = False
        if self._offered:
            self._offered.unpark_all()

    # The task

    async def run(self) -> None:
        """Send until nothing is left after `close`, or until the stream breaks."""
        try:
            while True:
                if not self._queue:
                    if self._closing:
                        return
                    await self._park()
                    continue
                entry = self._queue.popleft()
                if isinstance(entry, bytes):
                    await self._send_queued(entry)
                elif isinstance(entry, SpoolJob):
                    await self._send_job(entry)
                else:
                    entry.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._break(_why(exc))
            await trio.aclose_forcefully(self._stream)
        finally:
            self._break("the sender was cancelled")

    def close(self) -> None:
        """Accept nothing more. `run` returns when everything queued has been sent."""
        self._closing = True
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    def _break(self, why: str) -> None:
        """Tell every task that waits for the sender that nothing more will be sent."""
        if not (self._closing and not self._queue) and self._broken is None:
            self._broken = why
        for entry in self._queue:
            if isinstance(entry, SpoolJob):
                entry.reached.set()
                entry.left.set()
            elif isinstance(entry, trio.Event):
                entry.set()
        self._queue.clear()
        self._queued = 0
        self._room.unpark_all()
        self._not_prompt()

    async def _park(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._not_prompt()
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _send_queued(self, data: bytes) -> None:
        """Send an entry, together with the next ones that fit in one batch with it."""
        queue = self._queue
        if queue and isinstance(queue[0], bytes):
            parts, size = [data], len(data)
            while queue and isinstance(queue[0], bytes) and size + len(queue[0]) <= self._limits.batch:
                part = queue.popleft()
                assert isinstance(part, bytes)
                parts.append(part)
                size += len(part)
            data = b"".join(parts)
        await self._write(data)
        self._queued -= len(data)
        if self._room and self._queued <= self._limits.low_water:
            self._room.unpark_all()
        if queue:
            await trio.lowlevel.checkpoint()

    async def _send_job(self, job: SpoolJob) -> None:
        handoff = self._current = job.handoff
        begun = complete = False
        job.reached.set()
        self._not_prompt()
        try:
            with handoff.loop.streaming():
                while not handoff.closing:
                    if (batch := await handoff.take()) is None:
                        complete = handoff.complete
                        break
                    # Before the batch is written, so that a worker that waits for room can use it during the system call.
                    handoff.settle(batch)
                    begun = True
                    await self._write(batch)
                    await trio.lowlevel.checkpoint()
            if job.whole and begun and not complete:
                raise trio.BrokenResourceError("the output that was being sent could not be completed")
        except BaseException as exc:
            # The task that waits for this spool is told below, and must find out why.
            self._broken = _why(exc)
            raise
        finally:
            self._current = None
            handoff.close()
            job.left.set()

    async def _write(self, data: bytes) -> None:
        """Write all of the data. This is a checkpoint only if the stream does not accept it at once.

        Raises:
            trio.BrokenResourceError: The peer is gone, or has accepted no byte for `send_timeout` seconds.
        """
        self._batches += 1
        written = 0
        if self._socket is not None:
            try:
                # Most replies fit in the socket's buffer. Writing at once saves them a cancel scope and a pass of the scheduler.
                written = os.write(self._socket.fileno(), data)
            except OSError:
                pass  # it would block, or the connection is broken: the attempts below tell which
            self._bytes += written
        if written < len(data):
            self._not_prompt()
            started = perf_counter()
            try:
                await self._write_slowly(memoryview(data)[written:])
            finally:
                self._blocked_seconds += perf_counter() - started

    async def _write_slowly(self, rest: memoryview) -> None:
        while rest:
            accepted = 0
            with trio.move_on_after(self._send_timeout) as scope:
                accepted = await self._write_some(rest)
            if scope.cancelled_caught:
                raise trio.BrokenResourceError(f"the peer accepted no byte for {self._send_timeout:g} seconds")
            self._bytes += accepted
            rest = rest[accepted:]

    async def _write_some(self, rest: memoryview) -> int:
        if self._socket is None:
            await self._stream.send_all(rest[:SLICE])
            return min(len(rest), SLICE)
        try:
            return await self._socket.send(rest)
        except OSError as exc:
            raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc


def _why(error: BaseException) -> str:
    return "the sender was cancelled" if isinstance(error, trio.Cancelled) else str(error) or "the peer is gone"


@asynccontextmanager
async def open_sender(
    stream: trio.abc.SendStream, *, limits: SpoolLimits | None = None, send_timeout: float = 30.0
) -> AsyncIterator[Sender]:
    """Start the task that owns the send side of a stream.

    Args:
        stream: The stream, on which nothing else may send from now on. It is closed if it breaks or stalls, and otherwise left
            open.
        limits: The bytes that `send` may queue and that each spool may hold. The batch also bounds one write.
        send_timeout: The number of seconds after which a peer that accepts no byte is given up: the stream is closed, and tasks
            that send get `trio.BrokenResourceError`. A peer that reads, however slowly, is left alone.

    Leaving the block normally waits until everything queued has been sent, or until the stream breaks; only `Sender.drain` tells
    which of the two happened. Leaving it by an exception or a cancellation does not wait: part of an entry may have been sent.
    """
    sender = Sender(stream, limits if limits is not None else SpoolLimits(), send_timeout)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            try:
                yield sender
            finally:
                sender.close()
    except BaseExceptionGroup as group:
        raise_the_one(group)
