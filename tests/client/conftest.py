"""A service in the test's own event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from trio_spool.server import Settings, serve

StartService = Callable[..., Awaitable[int]]


@pytest.fixture
def start_service(nursery: trio.Nursery) -> StartService:
    """Start a service with these settings, and return its port."""

    async def start(**values: Any) -> int:
        async def run(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
            await serve(Settings(**{"listen": ("tcp://127.0.0.1:0",), **values}), task_status=task_status)

        address, *_ = await nursery.start(run)
        return int(address.rsplit(":", 1)[1])

    return start


@pytest.fixture
async def port(start_service: StartService) -> int:
    return await start_service(engine="memory", max_item_size=1000)


@pytest.fixture
def scripted(nursery: trio.Nursery) -> StartService:
    """Start a peer that answers each request with the next of these frames, and then with nothing; return its port."""

    async def start(*answers: bytes) -> int:
        async def answer(stream: trio.SocketStream) -> None:
            rest = list(answers)
            async with stream:
                while await stream.receive_some(65536):
                    if rest:
                        await stream.send_all(rest.pop(0))

        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        return int(listeners[0].socket.getsockname()[1])

    return start
