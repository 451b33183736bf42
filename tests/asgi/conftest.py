"""A server that the tests of responses play themselves, on both event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from trio_spool.asgi._beside import on_trio


def _run_asyncio(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    async def main() -> Any:
        return await function(*arguments)

    return asyncio.run(main())


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run an async function on an event loop."""
    return trio.run if request.param == "trio" else _run_asyncio


class Moment:
    """Something that happens once, for tasks of either loop. It is made where the loop runs."""

    def __init__(self) -> None:
        event = trio.Event() if on_trio() else asyncio.Event()
        self.set = event.set
        self.wait = event.wait


class Exchange:
    """One request, and the messages of its response.

    Args:
        method: Of the request.
        leave_after: The number of messages after which the client leaves: 0 leaves at once, None stays.
        stall: Whether the last message before the client leaves is one that the server never gets rid of.
        error: What sending raises after these messages.
    """

    def __init__(
        self, method: str = "GET", *, leave_after: int | None = None, stall: bool = False, error: Exception | None = None
    ) -> None:
        self.scope = {"type": "http", "method": method, "path": "/", "headers": []}
        self.messages: list[dict[str, Any]] = []
        self._leave_after = leave_after
        self._stall = stall
        self._error = error
        self._left = Moment()
        self._requested = False
        if leave_after == 0:
            self._left.set()

    async def receive(self) -> dict[str, Any]:
        if not self._requested:
            self._requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if len(self.messages) == self._leave_after:
            if self._error is not None:
                raise self._error
            self._left.set()
            if self._stall:
                await Moment().wait()

    def leave(self) -> None:
        self._left.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def complete(self) -> bool:
        """Whether the server would send the end of the response."""
        return bool(self.messages) and self.messages[-1].get("more_body") is False


@pytest.fixture
def exchange() -> type[Exchange]:
    return Exchange


class Watched:
    """A producer that can be silent, and notes what becomes of it.

    Args:
        fragments: What it emits. None among them is silence until it is stopped.
    """

    def __init__(self, fragments: Any = ()) -> None:
        self.fragments = fragments
        self.begun = self.ended = False
        self.silent = threading.Event()
        self.stopped = threading.Event()
        self.thread: int | None = None

    def rows(self) -> Iterator[bytes]:
        self.begun = True
        try:
            for fragment in self.fragments:
                if fragment is None:
                    self.silent.set()
                    assert self.stopped.wait(60)
                else:
                    yield fragment
        finally:
            self.thread = threading.get_ident()
            self.ended = True

    @property
    def ended_in_worker(self) -> bool:
        return self.ended and self.thread != threading.get_ident()


@pytest.fixture
def watched() -> type[Watched]:
    return Watched
