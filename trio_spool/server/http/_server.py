"""An HTTP server: its connections, how many there may be, and what the log says of them."""

from __future__ import annotations

import ssl
from itertools import count
from typing import Final

import attrs
import trio

from ..._core import let_go, open_sender
from ..._formats import host_of
from ..._incidents import Incidents, place_of
from .._farewell import see_off
from ..shared import counted_as
from ._connection import HttpConnection
from ._limits import SPOOL, HttpLimits
from ._messages import Client, Handler, HttpError, Request, Response

REFUSED: Final = "a bad HTTP request"
FULL: Final = "no place for another HTTP connection"
# Threads that produce and compress bodies. A page is seldom asked for; more threads would only take turns with each other.
_WORKERS: Final = 2
# Sent to clients for which there is no place, without looking at what they ask.
_NO_PLACE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 40\r\n"
    b"Connection: close\r\n\r\ntoo many connections; try again shortly\n"
)


@attrs.define(eq=False)
class _Place:
    """A connection that is open.

    Attributes:
        address: As what its client's address is counted; an empty string for a Unix domain socket.
        connection: The conversation, once it has begun.
    """

    address: str
    connection: HttpConnection | None = None


class HttpServer:
    """Serves connections that others accept.

    Args:
        name: What it serves, in a word.
        handler: Answers the requests. Requests of one connection come one after the other.
        incidents: Takes note of what goes wrong.
        limits: What a client may use.

    Attributes:
        name: As above.
        requests: How many requests a handler has seen.
        refused: How many requests were refused before that.
        rejected: For how many connections there was no place.
    """

    def __init__(self, name: str, handler: Handler, *, incidents: Incidents, limits: HttpLimits | None = None) -> None:
        self.name = name
        self._handler = handler
        self._incidents = incidents
        self._limits = limits if limits is not None else HttpLimits()
        self._workers = trio.CapacityLimiter(_WORKERS)
        self._numbers = count(1)
        self._open: dict[int, _Place] = {}
        self._telling = 0
        self._stopping = False
        self.requests = 0
        self.refused = 0
        self.rejected = 0

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def serve(self, stream: trio.SocketStream, peer: str, tls: ssl.SSLContext | None = None) -> None:
        """Serve a connection until it ends, and let nothing that goes wrong in it go further. The stream is closed then.

        Args:
            stream: The connection.
            peer: The address of the client, for the log.
            tls: Encrypts the connection; None for none.
        """
        try:
            if not self._has_place(counted_as(host_of(peer))):
                await self._reject(stream, peer, tls)
                return
            client = Client(peer, next(self._numbers))
            place = self._open[client.number] = _Place(counted_as(host_of(peer)))
            try:
                await self._serve(stream, client, tls, place)
            finally:
                del self._open[client.number]
        except Exception as exc:
            self._incidents.report(
                "HTTP connection failed", place=place_of(exc), level="error", error=exc, server=self.name, peer=peer
            )
            let_go(exc)
        finally:
            await trio.aclose_forcefully(stream)

    def stop(self) -> None:
        """End each connection, after the answer to a request that is being read or answered. Further ones get no answer."""
        self._stopping = True
        for place in self._open.values():
            if place.connection is not None:
                place.connection.stop()

    def _has_place(self, address: str) -> bool:
        """Whether there is a place for a connection from an address; if there is none, take that of one that does nothing."""
        limits, there = self._limits, list(self._open.values())
        from_there = [place for place in there if place.address == address] if address else []
        full = [
            places
            for places, limit in ((from_there, limits.max_connections_per_address), (there, limits.max_connections))
            if len(places) >= limit
        ]
        if not full:
            return True
        idle = [place.connection for place in full[0] if place.connection is not None and place.connection.idle_since is not None]
        if not idle:
            return False
        min(idle, key=lambda each: each.idle_since or 0.0).stop()  # it ends in the next pass of the loop
        return True

    async def _reject(self, stream: trio.SocketStream, peer: str, tls: ssl.SSLContext | None) -> None:
        self.rejected += 1
        self._incidents.report(FULL, place=host_of(peer), peer=peer, server=self.name, limit=self._limits.max_connections)
        if tls is not None or self._telling >= self._limits.max_connections:
            return
        self._telling += 1
        try:
            async with open_sender(stream, send_timeout=self._limits.farewell, watch_peer=False) as sender:
                await sender.send(_NO_PLACE)
            await see_off(stream, self._limits.farewell)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            let_go(exc)  # the client has gone
        finally:
            self._telling -= 1

    async def _serve(self, stream: trio.SocketStream, client: Client, tls: ssl.SSLContext | None, place: _Place) -> None:
        if tls is None:
            await self._converse(stream, client, place)
            return
        encrypted = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(self._limits.tls_time):
                await encrypted.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            reason = str(exc.__cause__ or exc) or f"it took more than {self._limits.tls_time:g} seconds"
            self._incidents.report("no TLS handshake", place=host_of(client.peer), peer=client.peer, reason=reason)
            let_go(exc)
            return
        client.tls, client.certificate = True, encrypted.getpeercert()
        await self._converse(encrypted, client, place)

    async def _converse(self, stream: trio.abc.Stream, client: Client, place: _Place) -> None:
        limits = self._limits
        try:
            async with open_sender(stream, limits=SPOOL, send_timeout=limits.send_timeout, watch_peer=False) as sender:
                connection = HttpConnection(
                    client, stream, sender, self._count, limits=limits, workers=self._workers, incidents=self._incidents,
                    refused=lambda error: self._note_refused(error, client),
                )  # fmt: skip
                place.connection = connection
                if self._stopping:
                    connection.stop()
                told = await connection.run()
            if told:
                await see_off(stream, limits.farewell)
            with trio.move_on_after(limits.farewell):
                await stream.aclose()  # with TLS, this tells the client that nothing was cut off
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            let_go(exc)  # the client has gone, or takes nothing

    async def _count(self, request: Request) -> Response:
        self.requests += 1
        return await self._handler(request)

    def _note_refused(self, error: HttpError, client: Client) -> None:
        self.refused += 1
        self._incidents.report(
            REFUSED, place=host_of(client.peer), level="info", peer=client.peer, server=self.name, status=error.status,
            reason=error.told,
        )  # fmt: skip
