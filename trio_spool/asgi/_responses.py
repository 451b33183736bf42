"""Responses as ASGI applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._core import Producer, SpoolLimits
from ..streams import stream
from ._events import Event, event_headers, events
from ._headers import Headers, encode_headers
from ._json_lines import json_lines
from ._respond import Body
from ._types import Receive, Scope, Send

# The HTML standard (9.2.7, "Authoring notes") advises a comment "every 15 seconds or so": some proxies end connections that are
# silent for longer.
KEEP_ALIVE = 15.0


class StreamResponse:
    """A response whose body blocking code produces in worker threads: an ASGI application that answers one request.

    ::

        async def app(scope, receive, send):
            await StreamResponse(rows(), content_type="text/csv")(scope, receive, send)

    The producer starts when the response is called. The headers are sent with its first batch: if it raises before that, the call
    raises, and the server answers with a status of 500. If it raises later, the call raises, and the server breaks the response
    off, so that the client can tell that it is not complete. When the client leaves, the producer is stopped, even while it emits
    nothing and while the client reads nothing. The call returns after the producer has ended. A request with the method HEAD gets
    the headers and closes the producer without starting it.

    Args:
        producer: See `trio_spool.open_spool`.
        status: The status code.
        headers: A mapping of names to values, or pairs of both. A content-length is kept, and the body checked against it.
        content_type: The header content-type, unless it is among `headers`.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.

    Raises:
        TypeError: `producer` is neither an iterable nor a function.
        ValueError: A header has a character that HTTP does not allow.
    """

    _keep_alive: float | None = None

    def __init__(
        self,
        producer: Producer,
        *,
        status: int = 200,
        headers: Headers = (),
        content_type: str = "application/octet-stream",
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        self._status = status
        self._headers = encode_headers(headers)
        if all(key != b"content-type" for key, _ in self._headers):
            self._headers += encode_headers([("content-type", content_type)])
        self._body = Body(stream(producer, limits=limits, limiter=limiter, stop=stop, name=name), self._keep_alive)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._body.respond(scope, receive, send, self._status, self._headers)


class EventResponse(StreamResponse):
    """A response of server-sent events, which browsers read with ``EventSource``.

    ::

        async def app(scope, receive, send):
            await EventResponse(tokens())(scope, receive, send)

    Args:
        items: A blocking iterable of `Event`, or of strings, each the data of an event.
        status: The status code.
        headers: As for `StreamResponse`. Caches and nginx are told to hold nothing back, unless `headers` says something else.
        keep_alive: After how many seconds of silence a comment is sent, which browsers ignore, so that proxies keep the connection;
            None for no comments. If the first event is not there by then, the comment sends the headers.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.
    """

    def __init__(
        self,
        items: Iterable[Event | str],
        *,
        status: int = 200,
        headers: Headers = (),
        keep_alive: float | None = KEEP_ALIVE,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        self._keep_alive = keep_alive
        super().__init__(
            events(items),
            status=status,
            headers=event_headers(encode_headers(headers)),
            content_type="text/event-stream",
            limits=limits,
            limiter=limiter,
            stop=stop,
            name=name,
        )


class JSONLinesResponse(StreamResponse):
    """A response of newline-delimited JSON: one line for each item.

    ::

        async def app(scope, receive, send):
            await JSONLinesResponse(records())(scope, receive, send)

    Args:
        items: A blocking iterable of what `dumps` takes.
        dumps: Encodes an item, without line breaks. By default `json.dumps`, compact, which refuses NaN and infinity.
        status: The status code.
        headers: As for `StreamResponse`.
        content_type: The header content-type, unless it is among `headers`.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.
    """

    def __init__(
        self,
        items: Iterable[Any],
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
        status: int = 200,
        headers: Headers = (),
        content_type: str = "application/x-ndjson",
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            json_lines(items, dumps=dumps),
            status=status,
            headers=headers,
            content_type=content_type,
            limits=limits,
            limiter=limiter,
            stop=stop,
            name=name,
        )
