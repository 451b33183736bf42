"""Streams that are read on asyncio: their drivers are tasks, and callbacks see the ends of their readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .._core import Event
from ..asyncio._loop import AsyncioLoop, asyncio_loop
from ..asyncio._registry import OnePerLoop
from ..asyncio._tasks import outlast
from ._host import Host


class AsyncioHost(Host):
    """Reports errors to the loop's exception handler."""

    loop: AsyncioLoop

    def __init__(self) -> None:
        super().__init__(asyncio_loop())
        self._callbacks: dict[Callable[[bool], None], Callable[[asyncio.Task[object]], None]] = {}

    def start(self, driving: Callable[[], Coroutine[Any, Any, None]], tell: Callable[[], object]) -> None:
        self.loop.drive(driving(), tell)

    def current_task(self) -> asyncio.Task[object]:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        return task

    def watch(self, task: asyncio.Task[object], ended: Callable[[bool], None]) -> None:
        def done(task: asyncio.Task[object]) -> None:
            ended(task.cancelled())

        self._callbacks[ended] = done
        task.add_done_callback(done)

    def unwatch(self, task: asyncio.Task[object], ended: Callable[[bool], None]) -> None:
        if (done := self._callbacks.pop(ended, None)) is not None:
            task.remove_done_callback(done)

    async def outlast(self, event: Event) -> None:
        if cancelled := await outlast(event.wait):
            raise cancelled

    def report(self, message: str, error: BaseException) -> None:
        self.loop.loop.call_exception_handler({"message": message, "exception": error})


asyncio_host = OnePerLoop("streams", AsyncioHost)
