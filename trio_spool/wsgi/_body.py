"""The body of a response on its way from the application's thread: a spool without what makes it an object of its own.

`trio_spool.stream` starts a task that belongs to nobody, and watches the task that reads. A request has a task of its own, so
this needs neither, which saves a third of the time of a short response.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from .._core import Batches, Handoff, Producer, SpoolLimits, drive, prepare
from ..streams._stream import find_host


class Body:
    """The batches of a response.

    Args:
        producer: Runs the application.
        limits: The bounds of the spool.
        limiter: See `trio_spool.stream`.
        name: Of the application, for the log.
    """

    def __init__(self, producer: Producer, limits: SpoolLimits, limiter: object, name: str) -> None:
        self._host = find_host()
        self._loop = self._host.loop
        self.cancelled = self._loop.cancelled
        self._limiter = limiter
        self._turns = prepare(producer, name=name)
        self._handoff = Handoff(limits, self._loop)
        self._batches: Batches[bytes] = Batches(self._handoff)
        self._ended = self._loop.event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the producer beside a block. Leaving the block stops it, and waits for its end."""
        self._host.running.add(self._ended)  # `trio_spool.wait_closed` waits for it
        async with self._loop.beside(self._drive):
            try:
                yield
            finally:
                self.close()

    async def _drive(self) -> None:
        try:
            await drive(self._turns, self._handoff, self._limiter)
        finally:
            self._host.running.discard(self._ended)
            self._ended.set()
            if self._handoff.closing:
                self._handoff.discard()

    async def pass_on(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Call `send` with each batch, until the producer has ended.

        Raises:
            SpoolBrokenError: The producer was stopped.
            Exception: What the producer raised.
        """
        try:
            batch = await self._batches.next()  # without a checkpoint, which all later batches have: short responses are quick
        except trio.EndOfChannel:
            return
        with self._loop.streaming():
            await send(batch)
            async for batch in self._batches:
                await send(batch)

    def close(self) -> None:
        """Stop the producer."""
        self._handoff.close()
