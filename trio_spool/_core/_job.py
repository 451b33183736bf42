"""A spool in a sender's queue."""

from __future__ import annotations

import sys

import trio

from ._handoff import Handoff
from ._manners import streaming
from ._producer import Producer, drive
from ._workers import raise_the_one

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


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
        self.reached = trio.Event()
        self.left = trio.Event()

    async def run(self, producer: Producer, limiter: trio.CapacityLimiter | None) -> None:
        """Give the producer its turns until the sender has finished with it.

        The producer is always closed, and the sender always told, even if the hand-over was closed before or this is cancelled.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive, producer, self.handoff, limiter)
                try:
                    with streaming():
                        await self.left.wait()
                finally:
                    self.handoff.close()
        except BaseExceptionGroup as group:
            raise_the_one(group, self.handoff.closing_error)
