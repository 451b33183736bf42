"""What the block of a spool gives in Trio: a channel of batches."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic

import trio

from .._errors import SpoolBrokenError
from ..handover import B, Batches, Handoff


class BatchChannel(trio.abc.ReceiveChannel[B], Generic[B]):
    """The batches of one spool: a `trio.abc.ReceiveChannel`, used like a `trio.MemoryReceiveChannel`.

    Unlike a memory channel, it raises the producer's exception where the next batch would be, so the end of the data and a failure
    can't be confused. Several tasks may receive; each batch goes to one of them.
    """

    def __init__(self, source: _Source[B]) -> None:
        self._source = source
        self._closed = False
        source.channels += 1

    @trio.lowlevel.enable_ki_protection  # an interrupt must not lose the batch
    async def receive(self) -> B:
        """Wait for the next batch, one or more fragments, joined.

        If this is cancelled, nothing is lost: the next call returns the batch.

        Raises:
            trio.EndOfChannel: Everything was received, and the producer has ended without an error.
            trio.ClosedResourceError: This channel was closed.
            SpoolBrokenError: The producer was stopped, or its exception has been raised before.
            Exception: The producer raised it; everything emitted before has been received.
        """
        self._raise_if_closed()
        async with self._source.asking:
            try:
                return await self._source.next()
            except SpoolBrokenError:
                self._raise_if_closed()  # while this waited
                raise

    @trio.lowlevel.enable_ki_protection  # an interrupt must not lose the batch
    def receive_nowait(self) -> B:
        """Return the next batch if there is one.

        Raises:
            trio.WouldBlock: There is none now, or another task waits for it.
            Exception: As for `receive`.
        """
        self._raise_if_closed()
        if self._source.asking.locked():
            raise trio.WouldBlock
        return self._source.next_nowait()

    def clone(self) -> BatchChannel[B]:
        """Return another channel of the same batches. The producer is stopped when all of them are closed."""
        self._raise_if_closed()
        return BatchChannel(self._source)

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Close this channel. If no clone is open, the producer is stopped, and what has not been received is dropped."""
        if not self._closed:
            self._closed = True
            self._source.channels -= 1
            if not self._source.channels:
                self._source.close()

    async def aclose(self) -> None:
        """Do what `close` does, and let other tasks run."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> BatchChannel[B]:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed")


class _Source(Batches[B]):
    """The batches that a channel shares with its clones.

    Attributes:
        asking: Held by the task that waits for the next batch.
        channels: How many channels are open.
    """

    def __init__(self, handoff: Handoff) -> None:
        super().__init__(handoff)
        self.asking = trio.Lock()
        self.channels = 0


def open_channel(handoff: Handoff) -> BatchChannel[Any]:
    """Return the channel of the batches of a hand-over."""
    return BatchChannel(_Source(handoff))
