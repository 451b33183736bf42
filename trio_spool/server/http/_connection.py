"""One connection: a request, its answer, the next request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NoReturn

import h11
import trio

from ..._core import Sender, let_go
from ..._incidents import Incidents, place_of
from ._limits import HttpLimits
from ._messages import Client, Handler, HttpError, Request, Response, told
from ._reading import RequestReader
from ._replying import MIN_COMPRESSED, Streamed, accepts_gzip, compress_in_thread, head_of

FAILED: Final = "a page of the HTTP server failed"


# What a client is told of a handler that failed: why is in the log.
_FAILURE: Final = Response(500, b"this failed; the log of the server says why\n")


class _FailedError(Exception):
    """An answer can't be made; `__cause__` says why.

    Attributes:
        broken_off: Whether a part of it was sent, so that the connection was reset.
    """

    def __init__(self, *, broken_off: bool = False) -> None:
        super().__init__()
        self.broken_off = broken_off


class HttpConnection:
    """The conversation with one client.

    Args:
        client: Who it is.
        stream: What the client sends. Only this reads from it.
        sender: Sends to the client.
        handler: Answers the requests.
        limits: What the client may use.
        workers: Bounds the threads that produce and compress bodies.
        incidents: Takes note of handlers that fail.
        refused: Called with each request that is refused before a handler sees it.
    """

    def __init__(
        self,
        client: Client,
        stream: trio.abc.ReceiveStream,
        sender: Sender,
        handler: Handler,
        *,
        limits: HttpLimits,
        workers: trio.CapacityLimiter,
        incidents: Incidents,
        refused: Callable[[HttpError], object],
    ) -> None:
        self._client = client
        self._sender = sender
        self._handler = handler
        self._limits = limits
        self._workers = workers
        self._incidents = incidents
        self._refused = refused
        self._stopping = False
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_head)
        self._reader = RequestReader(self._wire, partial(_receive, stream), sender.send, client, limits)

    @property
    def idle_since(self) -> float | None:
        """When it began to wait for the client's next request, by Trio's clock; None if it does not wait for one."""
        return self._reader.idle_since

    def stop(self) -> None:
        """End it, after the answer to a request that is being read or answered."""
        self._stopping = True
        self._reader.stop_waiting()

    async def run(self) -> bool:
        """Answer requests, until the client leaves or has to.

        Returns:
            Whether the client was told something, after which it should leave. Otherwise it has left, or did nothing.

        Raises:
            trio.BrokenResourceError: The connection is broken.
        """
        while not self._stopping:
            try:
                request = await self._reader.next_request()
            except HttpError as exc:
                self._refused(exc)
                let_go(exc)
                await self._reply(told(exc), "", close=True)
                return True
            if request is None:
                return False
            accepted = request.headers.get("accept-encoding", "")
            try:
                await self._reply(await self._ask(request), accepted, close=self._stopping)
            except _FailedError as exc:
                self._report(exc, request)
                if exc.broken_off:
                    return False
                await self._reply(_FAILURE, "", close=True)
            if self._wire.our_state is not h11.DONE or self._wire.their_state is not h11.DONE:
                return True  # the client, or we, wanted this answer to be the last
            self._wire.start_next_cycle()
        return False

    async def _ask(self, request: Request) -> Response:
        try:
            with trio.move_on_after(self._limits.answer_time):
                return await self._handler(request)
        except HttpError as exc:
            let_go(exc)
            return told(exc)
        except Exception as exc:
            raise _FailedError from exc
        return told(HttpError(503, f"this took more than {self._limits.answer_time:g} seconds; try again later"))

    def _report(self, error: _FailedError, request: Request) -> None:
        cause = error.__cause__
        if cause is not None:
            self._incidents.report(
                FAILED, place=place_of(cause), level="error", peer=self._client.peer, method=request.method, path=request.path,
                reason=f"{type(cause).__name__}: {cause}", where=place_of(cause),
            )  # fmt: skip
            let_go(cause)

    async def _reply(self, response: Response, accepted: str, *, close: bool) -> None:
        """Send an answer, and wait until the system has taken it.

        Raises:
            _FailedError: It can't be made. Nothing of it was sent.
        """
        compressed = response.compress and accepts_gzip(accepted)
        if isinstance(response.body, bytes):
            await self._send_whole(response, response.body, compressed and len(response.body) >= MIN_COMPRESSED, close=close)
        else:
            await self._send_streamed(response, response.body, compressed, close=close)
        await self._sender.drain()

    async def _send_whole(self, response: Response, body: bytes, compressed: bool, *, close: bool) -> None:
        if compressed:
            body = await trio.to_thread.run_sync(compress_in_thread, body, limiter=self._workers)
        head = head_of(response, length=len(body), compressed=compressed, close=close)
        await self._sender.send(self._encode(head, b"" if self._has_no_body(response) else body))

    def _encode(self, head: h11.Response, body: bytes = b"") -> bytes:
        data = self._wire.send(head)
        if body:
            data += self._wire.send(h11.Data(data=body))
        return data + self._wire.send(h11.EndOfMessage())

    def _has_no_body(self, response: Response) -> bool:
        return self._reader.only_head or response.status in (204, 304)

    async def _send_streamed(self, response: Response, body: Iterable[bytes], compressed: bool, *, close: bool) -> None:
        head = head_of(response, length=None, compressed=compressed, close=close)
        if self._has_no_body(response):
            await self._sender.send(self._encode(head))
            return
        streamed = Streamed(self._wire, head, body, compressed=compressed)
        try:
            with trio.move_on_after(self._limits.answer_time) as limit:
                await self._sender.send_spool(streamed.produce_in_thread(), limiter=self._workers)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception as exc:
            if not streamed.begun:
                raise _FailedError from exc
            self._break_off(exc)
        else:
            if limit.cancelled_caught:
                self._break_off(trio.TooSlowError(f"the body took more than {self._limits.answer_time:g} seconds"))

    def _break_off(self, error: Exception) -> NoReturn:
        """Reset the connection, since the client has got a part of an answer that will have no end."""
        self._sender.abort()
        raise _FailedError(broken_off=True) from error


async def _receive(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    return bytes(await stream.receive_some(size))
