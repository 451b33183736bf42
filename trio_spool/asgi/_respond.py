"""Answer one request with a stream: what all responses here do, on every server and both loops.

The server tells of a client that left only to who asks: ``receive`` runs beside the body, so that a client is missed while nothing
is sent to it. The headers go out with the first batch: until then a failure can still become a status of 500. After that, raising
makes the server break the response off, which a client can tell from its end.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from time import monotonic

from .._core import SpoolError
from ..streams import Stream
from ._beside import new_lock, sleep, until_first
from ._headers import RawHeaders, content_length
from ._types import Receive, Scope, Send

# A comment of server-sent events: a line that begins with a colon is ignored, and so is the empty line behind it.
COMMENT = b":\n\n"


class WrongLengthError(SpoolError):
    """The producer of a response has emitted more or fewer bytes than its content-length says."""


class _ClientLeft(Exception):
    """Sending failed because the client has left."""


class Body:
    """The body of one response.

    Args:
        stream: What is sent.
        keep_alive: After how many seconds of silence a comment of server-sent events is sent; None for no comments.
    """

    def __init__(self, stream: Stream[bytes], keep_alive: float | None = None) -> None:
        self._stream = stream
        self._keep_alive = keep_alive
        self._used = False

    async def respond(self, scope: Scope, receive: Receive, send: Send, status: int, headers: RawHeaders) -> None:
        """Answer a request, and return after the producer has ended.

        Raises:
            Exception: The producer raised it, possibly while it was closed because the client had left.
            WrongLengthError: The body is not as long as the content-length among the headers.
            RuntimeError: The response has answered a request before.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"a response answers HTTP requests, and this is one of the type {scope['type']!r}")
        if self._used:
            raise RuntimeError("this response has answered a request before: make a new one for each request")
        self._used = True
        async with self._stream:
            answer = _Answer(send, self._stream, status, headers, self._keep_alive)
            try:
                if scope["method"] == "HEAD":
                    await answer.send_headers()
                else:
                    comments = () if self._keep_alive is None else (answer.send_comments,)
                    await until_first(answer.send_stream, lambda: _wait_for_disconnect(receive), *comments)
            except _ClientLeft:
                pass  # nothing is wrong with the application


async def _wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has left. What it still sends of a request body is dropped: the application did not want it."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Answer:
    """The messages of one response, in their order."""

    def __init__(self, send: Send, stream: Stream[bytes], status: int, headers: RawHeaders, keep_alive: float | None) -> None:
        self._send = send
        self._stream = stream
        self._start = {"type": "http.response.start", "status": status, "headers": headers}
        self._started = False
        self._missing = content_length(headers)  # bytes; None if any length is right
        self._keep_alive = keep_alive
        # Between messages, for two tasks send if there are comments.
        self._lock: AbstractAsyncContextManager[object] = nullcontext() if keep_alive is None else new_lock()
        self._last = monotonic()

    async def send_headers(self) -> None:
        """Send the headers alone."""
        await self._emit(b"", more=False)

    async def send_stream(self) -> None:
        """Send the body, and its end."""
        async for batch in self._stream:
            if self._missing is not None:
                self._missing -= len(batch)
                if self._missing < 0:
                    raise WrongLengthError(f"the producer has emitted {-self._missing} bytes or more beyond its content-length")
            await self._emit(batch, more=True)
        if self._missing:
            raise WrongLengthError(f"the producer has ended {self._missing} bytes short of its content-length")
        await self._emit(b"", more=False)

    async def send_comments(self) -> None:
        """Send a comment whenever nothing has been sent for some time. Batches hold whole events, so it never gets into one."""
        assert self._keep_alive is not None
        while True:
            silence = monotonic() - self._last
            if silence < self._keep_alive:
                await sleep(self._keep_alive - silence)
            else:
                await self._emit(COMMENT, more=True)

    async def _emit(self, body: bytes, *, more: bool) -> None:
        try:
            async with self._lock:
                if not self._started:
                    self._started = True
                    await self._send(self._start)
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
                self._last = monotonic()
        except OSError as error:  # the specification's word for a client that has left
            raise _ClientLeft from error
