"""What the tests of the client share: services in the test's event loop, and a peer that answers as a test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from support import service as services
from support.replies import reply_to

StartService = Callable[..., Awaitable[int]]


@pytest.fixture
def start_service(nursery: trio.Nursery) -> StartService:
    """Start a service with these settings, and return its port."""

    async def start(**values: Any) -> int:
        return (await services.start_service(nursery, **values)).port

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
                while request := await stream.receive_some(65536):
                    if rest:
                        await stream.send_all(reply_to(request, rest.pop(0)))

        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        return int(listeners[0].socket.getsockname()[1])

    return start
