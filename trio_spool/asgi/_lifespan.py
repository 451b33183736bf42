"""Wait for the producers before the server goes down."""

from __future__ import annotations

from ..streams import wait_closed
from ._types import Application, Message, Receive, Scope, Send


class WaitForStreams:
    """ASGI middleware: the application shuts down after all producers have ended, their ``finally`` included.

    ::

        app = WaitForStreams(app)

    A server that is told to end cancels its requests, and then its process ends. Producers may be in the middle of a step in a
    worker thread then, and without this middleware their ``finally`` may never run. An application that has a lifespan function of
    its own can await `trio_spool.wait_closed` there instead. The middleware also suits an application that does not support
    lifespan.

    It stops no stream: a server that waits for its clients waits for endless streams, too. Tell uvicorn how long by
    ``--timeout-graceful-shutdown``.

    Args:
        app: An ASGI application.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; hold the message back that ends the application."""
        if scope["type"] == "lifespan":
            await _Lifespan(receive, send).run(self._app, scope)
        else:
            await self._app(scope, receive, send)


class _Lifespan:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._starting = False  # the application has been told to start
        self._answered = False  # it has answered

    async def run(self, app: Application, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self._answered:
                raise
            # By the specification, an application that does not know lifespan raises.
        if not self._answered:
            await self._stand_in()

    async def receive(self) -> Message:
        message = await self._receive()
        self._starting = True
        if message["type"] == "lifespan.shutdown":
            await wait_closed()
        return message

    async def send(self, message: Message) -> None:
        self._answered = True
        await self._send(message)

    async def _stand_in(self) -> None:
        """Answer in the application's place."""
        if not self._starting:
            await self._receive()
        await self._send({"type": "lifespan.startup.complete"})
        await self.receive()
        await self._send({"type": "lifespan.shutdown.complete"})
