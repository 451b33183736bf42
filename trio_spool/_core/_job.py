"""A spool in a sender's queue."""

from __future__ import annotations

from ._handoff import Handoff
from ._producer import drive
from ._turns import Turns


class SpoolJob:
    """A producer in a sender's queue, and the task that waits for it there.

    Args:
        handoff: The producer's hand-over.
        whole: Whether the output is of no use unless it is complete; see `Sender.send_spool`.

    Attributes:
        reached: Set when the job is at the head of the queue.
        left: Set when the sender has finished with the job.
    """

    def __init__(self, handoff: Handoff, whole: bool) -> None:
        self.handoff = handoff
        self.whole = whole
        self.reached = handoff.loop.event()
        self.left = handoff.loop.event()

    async def run(self, turns: Turns, limiter: object) -> None:
        """Give the producer its turns until the sender has finished with it.

        The producer is always closed, and the sender always told, even if the hand-over was closed before or this is cancelled.
        """
        handoff = self.handoff
        try:
            async with handoff.loop.beside(drive, turns, handoff, limiter):
                try:
                    with handoff.loop.streaming():
                        await self.left.wait()
                finally:
                    handoff.close()
        except handoff.loop.cancelled:
            if handoff.closing_error is not None:
                raise handoff.closing_error from None  # the task is still cancelled, and finds out
            raise
