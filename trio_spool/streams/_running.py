"""A stream that has started: its driver, and the rules by which the end of its reader stops it."""

from __future__ import annotations

from functools import partial
from typing import Generic

from .._core import B, Batches, Handoff, Turns, drive
from ._host import Host


class Running(Generic[B]):
    """What is left of a stream when its user drops it: its driver holds this, but not the `Stream`, so dropping that is noticed.

    Args:
        host: Of the loop that runs it. The producer has the context of the current task.
        turns: The producer, prepared.
        handoff: Of its output.
        limiter: As for `stream`.
    """

    def __init__(self, host: Host, turns: Turns, handoff: Handoff, limiter: object) -> None:
        self.host = host
        self.handoff = handoff
        self.batches: Batches[B] = Batches(handoff)
        self.ended = host.loop.event()
        self._name = turns.name
        self._reader: object = None  # the task that asked last
        self._asked = 0  # how often that task has asked
        self._asking = False  # whether it waits for a batch
        self._interrupted = False  # whether its last wait was cancelled
        self._heard = False  # whether somebody will be told of an error while the producer is closed
        host.running.add(self.ended)
        host.start(partial(self._drive, turns, limiter), self.stop)

    async def _drive(self, turns: Turns, limiter: object) -> None:
        try:
            await drive(turns, self.handoff, limiter)
        finally:
            self.host.running.discard(self.ended)
            if self.handoff.closing:
                self.handoff.discard()
            error = self.handoff.closing_error
            if error is not None and not self._heard:
                self.host.report(f"closing the producer {self._name} failed, and nobody reads its stream any more", error)
            self.ended.set()

    async def receive(self) -> B:
        """Return the next batch, and note which task asks for it."""
        if self._asking:
            return await self.batches.receive()  # it refuses
        self._note_reader()
        self._asking = True
        try:
            return await self.batches.receive()
        except self.host.loop.cancelled:
            self._interrupted = True
            raise
        except BaseException:
            self._forget_reader()  # this was the end
            raise
        finally:
            self._asking = False

    def _note_reader(self) -> None:
        self._interrupted = False
        task = self.host.current_task()
        if task is self._reader:
            self._asked += 1
        elif not self.handoff.closing:
            self._forget_reader()
            self._reader, self._asked = task, 1
            self.host.watch(task, self.reader_ended)
            self._streaming = self.host.loop.streaming()
            self._streaming.__enter__()

    def reader_ended(self, cancelled: bool) -> None:
        """Stop the producer if its reader has ended before the stream.

        A task that asked once and ended may have been made for that one batch, as by ``create_task(anext(stream))``: another one
        will ask for the next. A task whose wait for a batch was cancelled need not end cancelled: a group of tasks inside of it may
        have been.
        """
        self._forget_reader()
        if cancelled or self._interrupted or self._asked > 1:
            self.stop()

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self.host.unwatch(self._reader, self.reader_ended)
            self._reader = None
            self._streaming.__exit__(None, None, None)

    def stop(self) -> None:
        """Stop the producer. A task that asks for a batch, now or later, gets `SpoolBrokenError`."""
        if not self.handoff.closing:
            self._forget_reader()
            self.handoff.close()
            if self.ended.is_set():
                self.handoff.discard()

    def stop_in_thread(self) -> None:
        """Stop the producer soon. May be called in any thread."""
        if not self.host.loop.call_soon_in_thread(self.stop):
            self.handoff.close_in_thread()

    async def aclose(self) -> None:
        """Stop the producer, wait for its end even if this is cancelled, and raise an error with which it was closed."""
        self._heard = True
        self.stop()
        try:
            await self.host.outlast(self.ended)
        except self.host.loop.cancelled:
            if self.handoff.closing_error is None:
                raise
            self.host.loop.cancel_again()
        if (error := self.handoff.closing_error) is not None:
            try:
                raise error
            finally:
                del error
