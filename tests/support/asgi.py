"""An ASGI server in a few lines: it hands over what a test says, on both event loops, and keeps what the application sends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import trio


def make_scope(method: str = "GET", path: str = "/", headers: Iterable[tuple[str, str]] = (), **changes: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
        **changes,
    }


class Event:
    """An event of whatever loop runs, that any thread may set."""

    def __init__(self) -> None:
        if trio.lowlevel.in_trio_run():
            token = trio.lowlevel.current_trio_token()
            self._event: Any = trio.Event()
            self.set = lambda: token.run_sync_soon(self._event.set)
        else:
            loop = asyncio.get_running_loop()
            self._event = asyncio.Event()
            self.set = lambda: loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class Server:
    """One request, from the server's side.

    Attributes:
        body: Chunks that are received, one at a time.
        leaves: When set, the client leaves, once the body has been received.
        may_send: If given, no message goes out before it is set.
        sent: What the application has sent.
        received: How many messages the application has received.
    """

    def __init__(self, *body: bytes, complete: bool = True, may_send: threading.Event | None = None) -> None:
        self.leaves = Event()
        self.may_send = may_send
        self.sent: list[dict[str, Any]] = []
        self.received = 0
        self._messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in body]
        if complete:
            self._messages = self._messages or [{"type": "http.request", "body": b""}]
            self._messages[-1]["more_body"] = False

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        if self._messages:
            return self._messages.pop(0)
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self.may_send is not None:
            wait = self.may_send.wait
            await (trio.to_thread.run_sync(wait) if trio.lowlevel.in_trio_run() else asyncio.to_thread(wait))
        self.sent.append(message)
        await (trio.lowlevel.checkpoint() if trio.lowlevel.in_trio_run() else asyncio.sleep(0))

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1]["more_body"]
