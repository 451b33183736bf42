"""A spool in a sender's queue."""

from __future__ import annotations

from collections.abc import Callable

from .._raising import raise_closing_error
from ..handover import Handoff
from ..producers import Turns, drive


class SpoolJob:
    """A producer in a sender's queue, and the task that waits for it there.

    Args:
        handoff: The producer's hand-over.
        whole: Whether the output is of no use unless it is complete; see `Sender.send_spool`.
    """

    def __init__(self, handoff: Handoff, whole: bool) -> None:
        self.handoff = handoff
        self.whole = whole
        self._reached = handoff.loop.event()  # the job is at the head of the queue, or gets no turn
        self._left = handoff.loop.event()  # the sender has finished with the job

    async def run(self, turns: Turns, limiter: object, put: Callable[[SpoolJob], object]) -> None:
        """Give the producer its turns, once the sender has reached the job, until the sender has left it.

        The producer is always closed, even if it never gets a turn, or if this is cancelled or interrupted. Neither waits for the
        sender, which may be waiting for a peer that does not read. If the task is cancelled already, the job is not queued.
        """
        handoff = self.handoff
        with handoff.loop.streaming():
            try:
                async with handoff.loop.beside(self._drive, turns, limiter):
                    try:
                        await handoff.loop.checkpoint_if_cancelled()  # else a quick producer could begin, and be cut off
                        put(self)
                        await self._left.wait()
                    finally:
                        handoff.close()
                        self._reached.set()
            except handoff.loop.cancelled as exc:
                if handoff.closing_error is not None:
                    raise_closing_error(handoff.closing_error, exc, handoff.loop)
                raise

    async def _drive(self, turns: Turns, limiter: object) -> None:
        if not self._reached.is_set():
            await self._reached.wait()
        await drive(turns, self.handoff, limiter)

    def reach(self) -> None:
        """Let the producer start. Called by the sender."""
        self._reached.set()

    def leave(self) -> None:
        """Stop the producer, if it runs or has not begun. Called by the sender, which takes nothing more."""
        self.handoff.close()
        self._reached.set()
        self._left.set()
