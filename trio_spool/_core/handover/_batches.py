"""What a task reads from a hand-over: an iterator of batches, for any loop."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

import trio

from .._errors import SpoolBrokenError
from ._handoff import Handoff

# What a batch is: bytes, or a list of items.
B = TypeVar("B")


class Batches(Generic[B]):
    """The batches of one spool, an async iterator. One task at a time may ask for the next one.

    An interrupt comes between its steps, and in its waits, but does not leave one of its steps half done: a worker or a driver
    would then wait for ever, or be woken twice.
    """

    def __init__(self, handoff: Handoff) -> None:
        self._handoff = handoff
        self._asking = False
        self._failed = False

    def __aiter__(self) -> Batches[B]:
        return self

    async def __anext__(self) -> B:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> B:
        """Wait for the next batch. If this is cancelled, nothing is lost: the next call returns the batch.

        Raises:
            trio.EndOfChannel: Everything was received, and the producer has ended without an error.
            SpoolBrokenError: The spool was closed or stopped, or its producer's exception has been raised before.
            RuntimeError: Another task is waiting for a batch.
            Exception: The producer raised it; everything emitted before has been received.
        """
        if self._asking:
            raise RuntimeError("another task is already waiting for the next batch of this spool: only one may at a time")
        self._asking = True
        try:
            # A batch that is there is returned without a wait, so that no cancellation can lose it: other tasks run before.
            await self._handoff.loop.checkpoint()
            return await self.next()
        finally:
            self._asking = False

    @trio.lowlevel.enable_ki_protection
    async def next(self) -> B:
        """Do what `receive` does, without a check of who else does, and without a checkpoint if a batch is there."""
        if not self._handoff.closing:
            batch: B | None = await self._handoff.take()
            if batch is not None:
                self._handoff.settle(batch)
                return batch
        self._raise_the_end()

    @trio.lowlevel.enable_ki_protection
    def next_nowait(self) -> B:
        """Do what `next` does, without waiting.

        Raises:
            trio.WouldBlock: There is no batch now.
        """
        handoff = self._handoff
        if not handoff.closing:
            batch: B
            if batch := handoff.take_nowait():
                handoff.settle(batch)
                return batch
            if not handoff.finished:
                raise trio.WouldBlock
        self._raise_the_end()

    def _raise_the_end(self) -> NoReturn:
        handoff = self._handoff
        if handoff.complete and not handoff.holds_some():
            raise trio.EndOfChannel
        failure = handoff.failure
        if failure is None or handoff.closing:
            raise SpoolBrokenError("this spool was stopped before its producer's end, so there is no next batch")
        if self._failed:
            raise SpoolBrokenError("the producer of this spool has failed, so there is no next batch") from failure
        self._failed = True
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Stop the producer, and drop what has not been received. A task that waits for a batch gets `SpoolBrokenError`."""
        self._handoff.close()
