"""Interrupts on asyncio, where `asyncio.run` cancels its main task from the signal's handler."""

from __future__ import annotations

import asyncio

from trio_spool.asyncio._tasks import resume


def test_a_future_that_is_cancelled_as_it_is_resumed() -> None:
    """Between two steps of Python, however close."""

    class Raced(asyncio.Future[None]):
        def set_result(self, result: None) -> None:
            self.cancel()
            super().set_result(result)

    async def main() -> None:
        future = Raced()
        resume(future)
        assert future.cancelled()

    asyncio.run(main())
