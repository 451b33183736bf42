"""The request's side in the event loop: what the server receives becomes the application's ``wsgi.input``."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any

from .._core import SpoolBrokenError
from ..uploads import SpoolReader

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class Request:
    """One request: its body, and whether its client is still there.

    Args:
        scope: ASGI's description of the request.
        receive: ASGI's.
        window: How many bytes of the body may wait for the application.

    Attributes:
        left: Called if the client leaves before its answer is complete. Who sets it resets it, since it refers to the response.
        failure: What ASGI's `receive` raised. It counts as the end of the client.
    """

    left: Callable[[], object] = bool
    failure: Exception | None = None

    def __init__(self, scope: Mapping[str, Any], receive: Receive, window: int) -> None:
        names = dict(scope.get("headers", ()))
        self._receive = receive
        self._answered = False
        self._reader: SpoolReader | None = None
        if scope["method"] not in ("GET", "HEAD") or b"content-length" in names or b"transfer-encoding" in names:
            self._reader = SpoolReader(window=window)
        # The server answers 100 (Continue) once it is asked for the body. Until then, the client does not send it.
        self._waits = names.get(b"expect", b"").lower() == b"100-continue"

    @property
    def has_body(self) -> bool:
        """Whether there may be a body."""
        return self._reader is not None

    @property
    def file(self) -> IO[bytes]:
        """The body, for the application."""
        return io.BytesIO() if self._reader is None else self._reader

    async def receive(self) -> None:
        """Feed the body to the application, then wait for the client to leave. Returns if the client has left."""
        if self._reader is not None and self._waits:
            await self._reader.wait_wanted()
        try:
            await self._receive_until_disconnected()
        except Exception as exc:
            self.failure = exc
        self._disconnected()

    async def _receive_until_disconnected(self) -> None:
        more = True
        while (message := await self._receive())["type"] != "http.disconnect":
            if more and self._reader is not None:
                more = message.get("more_body", False)
                await self._feed(self._reader, message.get("body", b""), more)

    async def _feed(self, reader: SpoolReader, chunk: bytes, more: bool) -> None:
        try:
            await reader.feed(chunk)
        except SpoolBrokenError:
            return  # the application has closed its input: what comes is dropped, so that a client that leaves is still noticed
        if not more:
            reader.feed_eof()

    def _disconnected(self) -> None:
        if not self._answered:
            self.left()
            self.stop(ConnectionResetError("the client has left"))

    def answering(self) -> None:
        """Note that the response has begun: from now on, receiving asks the client for nothing."""
        if self._reader is not None and self._waits:
            self._reader.want()

    def answered(self) -> None:
        """Note that the client has the whole response. Servers say that it has left from then on."""
        self._answered = True

    def stop(self, reason: BaseException) -> None:
        """Wake an application that waits for the body: its reads raise."""
        if self._reader is not None:
            self._reader.break_off(reason)
