"""Reading requests: one after the other, each whole, within bounds.

What can go wrong: the client leaves, is idle for too long, or takes too long for a request; the request breaks the protocol, its
head or its body is too large, or it can be read in two ways. Such a request is refused, and nothing after it is read, since nobody
knows where it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import h11
import trio

from ..._core import let_go
from ._limits import READ_SIZE, HttpLimits
from ._messages import Client, HttpError, Request, split_target


class LeftError(Exception):
    """The client has left, or was idle for too long."""


class RequestReader:
    """Reads the requests of one connection.

    Args:
        wire: The state of the connection.
        receive: Returns what has arrived, at most so many bytes; nothing at its end.
        send: Sends bytes, for a client that waits for permission to send a body.
        client: Who sends the requests.
        limits: What they may use.

    Attributes:
        idle_since: When it began to wait for the client to begin a request, by Trio's clock; None if it does not.
        only_head: Whether the last request was HEAD.
    """

    def __init__(
        self,
        wire: h11.Connection,
        receive: Callable[[int], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
        client: Client,
        limits: HttpLimits,
    ) -> None:
        self._wire = wire
        self._receive = receive
        self._send = send
        self._client = client
        self._limits = limits
        self._idle = trio.CancelScope()
        self.idle_since: float | None = None
        self.only_head = False

    def stop_waiting(self) -> None:
        """If the client is idle, have `next_request` return."""
        if self.idle_since is not None:
            self.idle_since = None
            self._idle.cancel()

    async def next_request(self) -> Request | None:
        """Return the next request; None if the client has left, or is idle for too long.

        Raises:
            HttpError: The request is refused. It was the last one.
        """
        self.only_head = False
        try:
            if not self._wire.trailing_data[0]:
                await self._wait_for_first_bytes()
            with trio.move_on_after(self._limits.request_time):
                return await self._read()
        except LeftError as exc:
            let_go(exc)
            return None
        raise HttpError(408, f"the request took more than {self._limits.request_time:g} seconds to arrive")

    async def _wait_for_first_bytes(self) -> None:
        data = b""
        with trio.move_on_after(self._limits.idle_time) as self._idle:
            self.idle_since = trio.current_time()
            try:
                data = await self._receive(READ_SIZE)
            finally:
                self.idle_since = None
        if not data:
            raise LeftError
        self._wire.receive_data(data)

    async def _read(self) -> Request:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            raise LeftError
        self.only_head = head.method == b"HEAD"
        self._check(head)
        method = "GET" if self.only_head else head.method.decode("ascii")
        path, query = split_target(head.target.decode("ascii"))
        return Request(method, path, query, _joined(head), await self._read_body(), self._client)

    def _check(self, head: h11.Request) -> None:
        """Refuse what is not understood here, and what can be read in two ways.

        Raises:
            HttpError: The request is refused.
        """
        names = [name for name, _ in head.headers]
        if not head.http_version.startswith(b"1."):
            raise HttpError(505, "this server speaks HTTP/1.1")
        if b"transfer-encoding" in names and (b"content-length" in names or head.http_version == b"1.0"):
            # RFC 9112, 6.1: a proxy and a server may see two different requests there.
            raise HttpError(400, "the request has no clear length: it has Transfer-Encoding beside Content-Length, or HTTP/1.0")
        if head.method == b"CONNECT":
            raise HttpError(405, "this server is no proxy")
        length = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if length > self._limits.max_body:
            raise self._too_large()

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the body of a request may have at most {self._limits.max_body} bytes")

    async def _read_body(self) -> bytes:
        body = bytearray()
        if self._wire.they_are_waiting_for_100_continue:
            await self._send(self._wire.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > self._limits.max_body:
                raise self._too_large()
        if not isinstance(event, h11.EndOfMessage):
            raise LeftError
        return bytes(body)

    async def _next_event(self) -> object:
        while True:
            try:
                event = self._wire.next_event()
            except h11.RemoteProtocolError as exc:
                raise HttpError(exc.error_status_hint, f"this is not a valid request: {exc}") from exc
            if event is not h11.NEED_DATA:
                return event
            data = await self._receive(READ_SIZE)
            if not data:
                raise LeftError
            self._wire.receive_data(data)


def _joined(head: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
