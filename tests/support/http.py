"""An HTTP server of the service's own kind on a real socket, and a client that sends any bytes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from trio_spool._incidents import Incidents
from trio_spool.server.http import Handler, HttpLimits, HttpServer


class Answer:
    """A response as a client sees it."""

    def __init__(self, head: h11.Response | h11.InformationalResponse, body: bytes = b"") -> None:
        self.status = head.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self.body = body


class Visitor:
    """A connection that sends any bytes, and parses what comes back strictly."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._wire = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _event(self) -> Any:
        while (event := self._wire.next_event()) is h11.NEED_DATA:
            self._wire.receive_data(bytes(await self.stream.receive_some(65536)))
        return event

    async def answer(self, method: bytes = b"GET") -> Answer:
        """Receive the answer to a request of this method, of which the bytes were or will be sent by hand."""
        if self._wire.our_state is h11.DONE:
            self._wire.start_next_cycle()
        self._wire.send(h11.Request(method=method, target=b"/", headers=[("Host", "x")]))
        self._wire.send(h11.EndOfMessage())
        head = await self._event()
        body = b""
        if isinstance(head, h11.InformationalResponse):
            return await self._after(Answer(head))
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        return Answer(head, body)

    async def _after(self, continued: Answer) -> Answer:
        assert continued.status == 100
        return continued

    async def rest(self) -> Answer:
        """Receive the final answer after a 100."""
        head, body = await self._event(), b""
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        return Answer(head, body)

    async def ask(self, request: bytes) -> Answer:
        """Send a request, and receive its answer."""
        await self.send(request)
        return await self.answer(b"HEAD" if request.startswith(b"HEAD ") else b"GET")

    async def everything(self) -> bytes:
        """Receive all until the server closes the connection, or resets it."""
        data = b""
        try:
            while more := await self.stream.receive_some(65536):
                data += more
        except trio.BrokenResourceError:
            pass
        return data

    async def closed(self) -> bool:
        """Whether the server closes the connection, and sends nothing more."""
        return not self._wire.trailing_data[0] and await self.everything() == b""


class Site:
    """A running HTTP server.

    Attributes:
        server: The server itself.
        log: The lines of its log: level, event, details.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str, dict[str, object]]] = []
        self.server: HttpServer
        self.port = 0

    def write(self, level: str, event: str, details: dict[str, object], error: BaseException | None) -> None:
        self.log.append((level, event, details | ({"error": error} if error is not None else {})))

    @asynccontextmanager
    async def visit(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Visitor]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            if tls is None:
                yield Visitor(stream)
            else:
                encrypted = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
                await encrypted.do_handshake()
                yield Visitor(encrypted)


@asynccontextmanager
async def run_site(handler: Handler, *, tls: ssl.SSLContext | None = None, **limits: Any) -> AsyncIterator[Site]:
    """Serve until the block ends."""
    site = Site()
    site.server = HttpServer("test", handler, incidents=Incidents(site.write), limits=HttpLimits(**limits))

    async def serve(stream: trio.SocketStream) -> None:
        await site.server.serve(stream, "127.0.0.1:1", tls)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            site.port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield site
            nursery.cancel_scope.cancel()
