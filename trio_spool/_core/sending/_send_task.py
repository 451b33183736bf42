"""The one task that writes to a stream."""

from __future__ import annotations

import trio

from .._errors import SpoolBrokenError
from .._limits import SpoolLimits
from .._loop import Loop
from ._job import SpoolJob
from ._outlet import Outlet
from ._queue import Entry, SendQueue

# Trio raises KeyboardInterrupt between any two lines of a task, unless a function is protected: then it waits until the main task
# waits for something, and interrupts that. What changes the state of a sender is protected, so that an interrupt can't leave half
# of a change behind. This does nothing in other event loops.
protected = trio.lowlevel.enable_ki_protection


class SendTask:
    """Takes the entries of a queue, one after the other, and writes them to an outlet.

    Attributes:
        loop: The event loop.
        queue: What is to be sent.
        outlet: Where it is sent.
        current: The spool that is being sent.
        writing: The size of its batch that is being written.
        broken: Why nothing can be sent any more, or None.
        stalled: Whether that is because the peer took nothing for as long as it may.
        incomplete: Whether that is because an output that had to be whole could not be completed.
        failure: What the stream raised, if that was none of the errors that streams raise for peers that are gone.
        closing: Whether the block of the sender has ended.
    """

    def __init__(self, outlet: Outlet, limits: SpoolLimits, loop: Loop) -> None:
        self.loop = loop
        self.queue = SendQueue(loop, limits)
        self.outlet = outlet
        self.current: SpoolJob | None = None
        self.writing = 0
        self.broken: str | None = None
        self.stalled = self.incomplete = False
        self.failure: BaseException | None = None
        self.closing = False
        self._peer_has_left = False
        self._cut = False  # whether what was sent ends in the middle of an entry, or with a spool that did not complete

    @protected
    async def run(self) -> None:
        """Send until nothing is left after `close`, or until the stream breaks.

        If this is cancelled, the connection is reset, unless everything that was queued has been sent whole.
        """
        whole = False
        try:
            while (entry := await self.queue.next()) is not None:
                await self._send_entry(entry)
            whole = self.broken is None
        except self.loop.cancelled:
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.break_off(self._why(exc))
        except BaseException as exc:
            self.break_off(self._why(exc))
            self.failure = exc
        finally:
            if not whole:
                await self._end()

    async def _end(self) -> None:
        if self.broken is not None or self._cut or self.queue:
            self.break_off("the sender was cancelled")
            self.outlet.abort()
            await self.outlet.close()
        else:
            self.queue.clear()

    def close(self) -> None:
        """Accept nothing more. `run` returns when everything queued has been sent."""
        self.closing = True
        self.queue.close()

    def give_up(self) -> None:
        """Accept nothing more, and send nothing more. If that leaves something cut off, the connection is reset."""
        self.closing = True
        if self._cut or self.queue:
            self.break_off("the sender's block was left by an exception")
            self.outlet.abort()
        self.queue.close()

    @protected
    def abort(self) -> None:
        """Break the connection off at once; see `Sender.abort`."""
        self.break_off("the connection was aborted")
        self.outlet.abort()

    def break_off(self, why: str) -> None:
        """Send nothing more, and tell every task that waits for the sender why."""
        if self.broken is None:
            self.broken = why
            self.stalled = self.outlet.stalled
        if self.current is not None:
            self.current.handoff.close()
        for entry in self.queue.clear():
            if isinstance(entry, SpoolJob):
                entry.leave()
            elif not isinstance(entry, bytes):
                entry.set()

    async def _send_entry(self, entry: Entry) -> None:
        if isinstance(entry, bytes):
            data = self.queue.join(entry)
            await self._write(data)
            self.queue.sent(len(data))
            self._cut = False
            if self.queue:
                await self.loop.checkpoint()
        elif isinstance(entry, SpoolJob):
            await self._send_job(entry)
        else:
            entry.set()

    async def _send_job(self, job: SpoolJob) -> None:
        self.current = job
        self.queue.not_prompt()
        if self._peer_has_left:
            self.break_off("the peer has left")
        try:
            with self.loop.streaming():
                self.outlet.watch(self._peer_left)
                job.reach()
                complete = await self._send_batches(job)
        except BaseException as exc:
            # The task that waits for this spool is told below, and must find out why.
            self.break_off(self._why(exc))
            raise
        finally:
            self.current = None
            self.writing = 0
            job.leave()
        self._cut = not complete
        self.raise_if_broken()

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
            self.writing = len(batch)
            await self._write(batch)
            self.writing = 0
            await self.loop.checkpoint()
        if job.whole and begun:
            self.incomplete = True
            raise SpoolBrokenError("the output that was being sent could not be completed")
        return False

    async def _write(self, data: bytes) -> None:
        """Write all of the data. This is a checkpoint only if the stream does not accept it at once.

        Raises:
            SpoolBrokenError: The peer is gone, or has taken nothing for as long as it may.
        """
        self._cut = True
        written = self.outlet.offer(data)
        if written < len(data):
            self.queue.not_prompt()
            await self.outlet.write(memoryview(data)[written:])

    def raise_if_broken(self) -> None:
        """Raise `SpoolBrokenError` if nothing can be sent any more."""
        if self.broken is not None:
            raise SpoolBrokenError(self.broken)

    def _peer_left(self) -> None:
        self._peer_has_left = True
        if self.current is not None:
            self.break_off("the peer has left")

    def _why(self, error: BaseException) -> str:
        if isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError)):
            return str(error) or "the peer is gone"
        return "the sender was cancelled" if isinstance(error, self.loop.cancelled) else f"the sender failed: {error!r}"
