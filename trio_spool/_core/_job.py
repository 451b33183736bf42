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
    """A producer whose turn to be sent comes, and the task that waits for it.

    Args:
        handoff: Its own.
        whole: The peer was told how much is to come.

    Attributes:
        reached: It is at the head of the queue.
        left: The sender has done with it.
    """

    def __init__(self, handoff: Handoff, whole: bool) -> None:
        self.handoff = handoff
        self.whole = whole
        self.reached = trio.Event()
        self.left = trio.Event()

    async def run(self, producer: Producer, limiter: trio.CapacityLimiter | None) -> None:
        """Give the producer its turns until the sender has done with it.

        It is closed, and the sender is told, in any case: also if the hand-over was closed before, or if this is cancelled.
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
