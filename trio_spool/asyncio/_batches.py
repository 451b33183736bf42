"""What a task reads from a hand-over: an iterator of batches, for any loop."""

from __future__ import annotations

import trio

from .._core import Handoff, SpoolBrokenError


class Batches:
    """The batches of one spool, an async iterator. One task at a time may ask for the next one."""

    def __init__(self, handoff: Handoff) -> None:
        self._handoff = handoff
        self._asking = False
        self._failed = False

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> bytes:
        """Wait for the next batch. If this is cancelled, nothing is lost: the next call returns the batch.

        Raises:
            trio.EndOfChannel: Everything was received, and the producer has ended without an error.
            SpoolBrokenError: The spool was closed or stopped, or its producer's exception has been raised before.
            RuntimeError: Another task is waiting for a batch.
            Exception: The producer raised it; everything emitted before has been received.
        """
        handoff = self._handoff
        if self._asking:
            raise RuntimeError("another task is already waiting for the next batch of this spool: only one may at a time")
        self._asking = True
        try:
            # A batch that is there is returned without a wait, so that no cancellation can lose it: other tasks run before.
            await handoff.loop.checkpoint()
            if not handoff.closing and (batch := await handoff.take()) is not None:
                handoff.settle(batch)
                return batch
        finally:
            self._asking = False
        if handoff.complete and not handoff.closing:
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

    def close(self) -> None:
        """Stop the producer, and drop what has not been received. A task that waits for a batch gets `SpoolBrokenError`."""
        self._handoff.close()
