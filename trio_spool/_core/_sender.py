"""Sender: the one task that writes to a stream, and what other tasks ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ._errors import SpoolBrokenError, SpoolClosedError, SpoolFullError
from ._fragments import as_bytes
from ._handoff import Handoff
from ._job import SpoolJob
from ._limits import SpoolLimits
from ._loop import Loop
from ._outlet import Outlet
from ._producer import Fragment, Producer, prepare
from ._queue import Entry, SendQueue
from ._statistics import SenderStatistics, SpoolStatistics
from ._turns import refuse_own_producer

# Trio raises KeyboardInterrupt between any two lines of a task, unless a function is protected: then it waits until the main task
# waits for something, and interrupts that. What changes the state of a sender is protected, so that an interrupt can't leave half
# of a change behind. This does nothing in other event loops.
_protected = trio.lowlevel.enable_ki_protection


class Sender:
    """Sends the bytes that any number of tasks queue, from a task of its own. Made by `open_sender`."""

    def __init__(self, outlet: Outlet, limits: SpoolLimits, loop: Loop) -> None:
        self._outlet = outlet
        self._limits = limits
        self._loop = loop
        self._queue = SendQueue(loop, limits)
        self._broken: str | None = None  # why nothing can be sent any more
        self._closing = False  # whether the block has ended
        self._peer_has_left = False
        self._cut = False  # whether what was sent ends in the middle of an entry, or with a spool that did not complete
        self._current: SpoolJob | None = None
        self._spools = SpoolStatistics()

    @_protected
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

    @_protected
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
        await self._loop.checkpoint_if_cancelled()
        self._raise_if_over()
        while self._queue.full:
            await self._queue.wait_room()
            self._raise_if_over()
        self._put(data)
        await self._loop.cancel_shielded_checkpoint()

    @_protected
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
        self._loop.check_limiter(limiter)
        self._raise_if_over()
        job = SpoolJob(Handoff(limits if limits is not None else self._limits, self._loop), whole)
        self._queue.put(job)
        try:
            await job.run(turns, limiter)
        finally:
            self._withdraw(job)
        handoff = job.handoff
        if handoff.failure is not None and (job.whole or handoff.stopped or self._broken is None):
            raise handoff.failure
        self._raise_if_broken()

    @_protected
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
        mark = self._loop.event()
        self._queue.put(mark)
        await mark.wait()
        self._raise_if_broken()

    async def offered(self) -> None:
        """Wait until everything queued has been offered to the stream, which has accepted it or has to wait for the peer.

        This is for a task that reads requests from the same connection: asking the system for more input before the replies have
        gone out would only delay them.
        """
        if self._queue.prompt:
            await self._queue.wait_offered()
        else:
            await self._loop.checkpoint_if_cancelled()

    @_protected
    def abort(self) -> None:
        """Break the connection off at once, so that the peer can tell that it did not get everything.

        A TCP connection is reset: the peer gets an error (`ConnectionResetError`) where it would otherwise see the end of the
        stream. Bytes that the system has accepted and the peer has not yet received are lost. A Unix socket has no such thing:
        there the peer sees the end. What is queued is dropped, producers are stopped, and tasks that send get `SpoolBrokenError`.
        """
        self.break_off("the connection was aborted")
        self._outlet.abort()

    def statistics(self) -> SenderStatistics:
        """Return the counters as they are now."""
        queue, outlet, spools = self._queue, self._outlet, self._spools
        if self._current is not None:
            spools += self._current.handoff.statistics()
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
        if self._closing:
            raise SpoolClosedError("this sender's block has ended")
        self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise SpoolBrokenError(self._broken)

    def _put(self, data: Fragment) -> None:
        if type(data) is not bytes:
            data = as_bytes(data)
        self._queue.put_bytes(data)

    def _withdraw(self, job: SpoolJob) -> None:
        """Forget a job whose task waits for it no longer; its turn may not have come."""
        self._queue.withdraw(job)
        self._spools += job.handoff.statistics()

    # The task

    @_protected
    async def run(self) -> None:
        """Send until nothing is left after `close`, or until the stream breaks.

        If this is cancelled, the connection is reset, unless everything that was queued has been sent whole.
        """
        whole = False
        try:
            while (entry := await self._queue.next()) is not None:
                await self._send_entry(entry)
            whole = self._broken is None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.break_off(str(exc) or "the peer is gone")
        finally:
            if not whole:
                await self._end()

    async def _end(self) -> None:
        if self._broken is not None or self._cut or self._queue:
            self.break_off("the sender was cancelled")
            self._outlet.abort()
            await self._outlet.close()
        else:
            self._queue.clear()

    def close(self) -> None:
        """Accept nothing more. `run` returns when everything queued has been sent."""
        self._closing = True
        self._queue.close()

    def give_up(self) -> None:
        """Accept nothing more, and send nothing more. If that leaves something cut off, the connection is reset."""
        self._closing = True
        if self._cut or self._queue:
            self.break_off("the sender's block was left by an exception")
            self._outlet.abort()
        self._queue.close()

    def break_off(self, why: str) -> None:
        """Send nothing more, and tell every task that waits for the sender why."""
        if self._broken is None:
            self._broken = why
        if self._current is not None:
            self._current.handoff.close()
        for entry in self._queue.clear():
            if isinstance(entry, SpoolJob):
                entry.leave()
            elif not isinstance(entry, bytes):
                entry.set()

    async def _send_entry(self, entry: Entry) -> None:
        if isinstance(entry, bytes):
            data = self._queue.join(entry)
            await self._write(data)
            self._queue.sent(len(data))
            self._cut = False
            if self._queue:
                await self._loop.checkpoint()
        elif isinstance(entry, SpoolJob):
            await self._send_job(entry)
        else:
            entry.set()

    async def _send_job(self, job: SpoolJob) -> None:
        self._current = job
        self._queue.not_prompt()
        if self._peer_has_left:
            self.break_off("the peer has left")
        try:
            with self._loop.streaming():
                self._outlet.watch(self._peer_left)
                job.reach()
                complete = await self._send_batches(job)
        except BaseException as exc:
            # The task that waits for this spool is told below, and must find out why.
            self.break_off(self._why(exc))
            raise
        finally:
            self._current = None
            job.leave()
        self._cut = not complete
        self._raise_if_broken()

    async def _send_batches(self, job: SpoolJob) -> bool:
        """Send the producer's output. Return whether all of it was sent."""
        handoff = job.handoff
        self._cut = True
        begun = False
        while not handoff.closing:
            if (batch := await handoff.take()) is None:
                if handoff.complete:
                    return True
                break
            # Before the batch is written, so that a worker that waits for room can use it during the system call.
            handoff.settle(batch)
            begun = True
            await self._write(batch)
            await self._loop.checkpoint()
        if job.whole and begun:
            raise SpoolBrokenError("the output that was being sent could not be completed")
        return False

    async def _write(self, data: bytes) -> None:
        """Write all of the data. This is a checkpoint only if the stream does not accept it at once.

        Raises:
            SpoolBrokenError: The peer is gone, or has taken nothing for as long as it may.
        """
        self._cut = True
        written = self._outlet.offer(data)
        if written < len(data):
            self._queue.not_prompt()
            await self._outlet.write(memoryview(data)[written:])

    def _peer_left(self) -> None:
        self._peer_has_left = True
        if self._current is not None:
            self.break_off("the peer has left")

    def _why(self, error: BaseException) -> str:
        if isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError)):
            return str(error) or "the peer is gone"
        return "the sender was cancelled" if isinstance(error, self._loop.cancelled) else f"the sender failed: {error!r}"
