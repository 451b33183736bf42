"""The end of an application waits for its producers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from trio_spool import stream
from trio_spool.asgi import WaitForStreams

Run = Callable[..., Any]


class Server:
    """What a server says to the lifespan of an application, and what that answers."""

    def __init__(self, *events: str) -> None:
        self._events = iter([{"type": f"lifespan.{event}"} for event in events])
        self.answers: list[str] = []

    async def receive(self) -> dict[str, Any]:
        return next(self._events)

    async def send(self, message: dict[str, Any]) -> None:
        self.answers.append(message["type"])


async def knows_lifespan(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def raises_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("only HTTP here")


async def raises_at_the_first_message(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("only HTTP here")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    pass


@pytest.mark.parametrize("app", [knows_lifespan, raises_at_once, raises_at_the_first_message, returns])
def test_shutdown_waits_for_producers(run: Run, watched: Any, app: Any) -> None:
    producer = watched(itertools.repeat(b"row"))

    async def main() -> None:
        one = stream(producer.rows())
        await one.__anext__()
        one.close()
        server = Server("startup", "shutdown")
        await WaitForStreams(app)({"type": "lifespan"}, server.receive, server.send)
        assert server.answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert producer.ended_in_worker

    run(main)


def test_a_failure_after_the_start_is_the_servers_to_see(run: Run) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed"})
        raise ValueError("no database")

    async def main() -> None:
        server = Server("startup")
        with pytest.raises(ValueError, match="no database"):
            await WaitForStreams(fails)({"type": "lifespan"}, server.receive, server.send)
        assert server.answers == ["lifespan.startup.failed"]

    run(main)


def test_requests_are_passed_on(run: Run) -> None:
    passed = []

    async def app(*arguments: Any) -> None:
        passed.append(arguments)

    async def main() -> None:
        await WaitForStreams(app)({"type": "http"}, 1, 2)
        assert passed == [({"type": "http"}, 1, 2)]

    run(main)
