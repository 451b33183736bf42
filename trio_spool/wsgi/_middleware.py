"""WSGIMiddleware: a WSGI application as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .._core import SpoolBrokenError, SpoolLimits
from ..streams import wait_closed
from ..uploads import WINDOW
from ..uploads._racing import race
from ._body import Body
from ._environ import build_environ
from ._request import Receive, Request
from ._response import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Seconds until a client is watched whose request has no body. Picked: one that leaves is noticed soon enough, and most
# responses are over by then.
PATIENCE = 0.025

Send = Callable[[dict[str, Any]], Awaitable[None]]


class WSGIMiddleware:
    """Runs a WSGI application, in worker threads, under any ASGI server, on Trio and on asyncio.

    ::

        app = WSGIMiddleware(flask_app)  # then: uvicorn module:app, or hypercorn --worker-class trio module:app

    The response goes through a spool, so it is streamed in large pieces, and a client that is behind holds it back. The body of the
    request is read while it comes, and never held as a whole. When the client leaves, reads of the body and writes of the response
    raise `SpoolBrokenError`, and the ``close`` of the application's iterable is called, in a worker thread.

    Each request has one thread, from the call of the application to the close of what it returned: frameworks keep things in
    variables of the thread. With ``give_back=True``, the iterable gives its thread back while its client is behind, and goes on in
    another one: a thousand stalled clients then hold no thread. Choose it for applications that need nothing of their thread.
    Context variables are kept in both cases.

    An error before the first byte of the body goes to the server, which answers 500. A later one breaks the response off.

    Args:
        application: The WSGI application.
        give_back: Whether the iterable of a response may be resumed in another thread.
        limits: The bounds of each response's spool: see `SpoolLimits`.
        limiter: How many threads run the application at the same time, a limiter as `stream` takes it. By default, all functions
            that stream share a limiter of 64; with `give_back`, all iterables share one of 16.
        body_window: How many bytes of a request's body may wait for the application.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        give_back: bool = False,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        body_window: int = WINDOW,
    ) -> None:
        if not callable(application):
            raise TypeError(f"application must be a WSGI application, a callable; got {application!r}")
        self._application = application
        self._give_back = give_back
        self._limits = limits if limits is not None else SpoolLimits()
        self._limiter = limiter
        self._body_window = body_window
        self._name = _name(application)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # the server refuses the handshake
        else:
            raise ValueError(f"a WSGI application can answer HTTP only; got an ASGI scope of type {scope['type']!r}")

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send, self._body_window)
        response = Response(self._application, build_environ(scope, exchange.request.file))
        producer = response.iterate_in_thread() if self._give_back else response.run_in_thread
        exchange.response = response
        exchange.body = Body(producer, self._limits, self._limiter, self._name)
        await exchange.answer()


class _Exchange:
    """One request and its response, in the event loop."""

    response: Response
    body: Body

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send, window: int) -> None:
        self.request = Request(scope, receive, window)
        self._send = send
        self._sent = 0
        self._started = False
        self._complete = False
        self._left = False

    def _client_left(self) -> None:
        self._left = True
        self.response.abandoned = True
        self.body.close()

    async def answer(self) -> None:
        """Run the application, and send what it gives."""
        try:
            async with self.body.running():
                await self._send_while_receiving()
        except SpoolBrokenError:
            if not self._left:
                raise
        except self.body.cancelled:
            if self.response.failure is not None:
                raise self.response.failure from None  # a cancellation must not hide it
            raise
        failure = self.request.failure or self.response.failure
        if failure is not None:
            raise failure
        if not self._left and not self._complete:
            with suppress(SpoolBrokenError):  # the client has just left
                await self._send_end()

    async def _send_while_receiving(self) -> None:
        ended = False
        self.request.left = self._client_left
        try:
            await race(
                partial(self.body.pass_on, self._send_batch), self.request.receive, delay=0 if self.request.has_body else PATIENCE
            )
            ended = True
        finally:
            self.request.left = bool
            if not ended:
                # First the request's body: the application may be waiting for it, and then the response would not end.
                self.response.abandoned = True
                self.request.stop(ConnectionAbortedError("its response was broken off"))

    async def _start(self) -> None:
        head = self.response.head
        if not self._started and head is not None:
            self._started = True
            await self._deliver({"type": "http.response.start", "status": head.status, "headers": head.headers})
            self.request.answering()

    async def _send_batch(self, batch: bytes) -> None:
        """Send a part of the body; at the end of its Content-Length, the client need not wait for the application to return."""
        await self._start()
        self._sent += len(batch)
        head = self.response.head
        if head is not None and self._sent == head.length:
            await self._send_last(batch)
        else:
            await self._deliver({"type": "http.response.body", "body": batch, "more_body": True})

    async def _send_end(self) -> None:
        await self._start()
        await self._send_last(self.response.whole or b"")

    async def _send_last(self, data: bytes) -> None:
        self._complete = True
        self.request.answered()
        await self._deliver({"type": "http.response.body", "body": data, "more_body": False})

    async def _deliver(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError as exc:  # the word of ASGI's specification for a client that has left
            self._client_left()
            raise SpoolBrokenError("the client has left") from exc


async def _live(receive: Receive, send: Send) -> None:
    """Answer the server's "lifespan": at its shutdown, wait until all producers have ended."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await wait_closed()
    await send({"type": "lifespan.shutdown.complete"})


def _name(application: Any) -> str:
    """Return the name of an application, for statistics and the log."""
    return f"{getattr(application, '__module__', '?')}.{getattr(application, '__qualname__', type(application).__qualname__)}"
