"""The responses of `trio_spool.asgi` for Starlette and FastAPI: import this where Starlette is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response

from .._core import Producer, SpoolLimits
from ..streams import stream
from ._events import Event, event_headers, events
from ._json_lines import json_lines
from ._respond import Body
from ._responses import KEEP_ALIVE
from ._types import Receive, Scope, Send


class StreamResponse(Response):
    """`trio_spool.asgi.StreamResponse` as a response of Starlette. FastAPI takes it, too.

    ::

        @app.get("/orders.csv")
        async def orders() -> StreamResponse:
            return StreamResponse(rows(), media_type="text/csv")

    Args:
        content: The producer, see `trio_spool.open_spool`.
        status_code: See Starlette.
        headers: See Starlette. A content-length is kept, and the body checked against it.
        media_type: See Starlette.
        background: See Starlette. The tasks run after the producer has ended, also if the client has left; not after a failure.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.

    Raises:
        TypeError: `content` is neither an iterable nor a function.
    """

    media_type = "application/octet-stream"
    _keep_alive: float | None = None

    def __init__(
        self,
        content: Producer,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        self._body = Body(stream(content, limits=limits, limiter=limiter, stop=stop, name=name), self._keep_alive)
        self.status_code = status_code
        if media_type is not None:
            self.media_type = media_type
        self.background = background
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._body.respond(scope, receive, send, self.status_code, self.raw_headers)
        if self.background is not None:
            await self.background()


class EventResponse(StreamResponse):
    """`trio_spool.asgi.EventResponse` as a response of Starlette.

    Args:
        content: A blocking iterable of `Event`, or of strings, each the data of an event.
        status_code: See Starlette.
        headers: See Starlette.
        background: See `StreamResponse`.
        keep_alive: After how many seconds of silence a comment is sent; None for no comments.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        content: Iterable[Event | str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        *,
        keep_alive: float | None = KEEP_ALIVE,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        self._keep_alive = keep_alive
        super().__init__(
            events(content),
            status_code,
            headers,
            None,
            background,
            limits=limits,
            limiter=limiter,
            stop=stop,
            name=name,
        )
        self.raw_headers[:] = event_headers(self.raw_headers)


class JSONLinesResponse(StreamResponse):
    """`trio_spool.asgi.JSONLinesResponse` as a response of Starlette.

    Args:
        content: A blocking iterable of what `dumps` takes.
        status_code: See Starlette.
        headers: See Starlette.
        media_type: See Starlette.
        background: See `StreamResponse`.
        dumps: Encodes an item, without line breaks. By default `json.dumps`, compact, which refuses NaN and infinity.
        limits: See `trio_spool.open_spool`.
        limiter: See `trio_spool.stream`.
        stop: See `trio_spool.stream`.
        name: See `trio_spool.stream`.
    """

    media_type = "application/x-ndjson"

    def __init__(
        self,
        content: Iterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
        limits: SpoolLimits | None = None,
        limiter: Any = None,
        stop: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            json_lines(content, dumps=dumps),
            status_code,
            headers,
            media_type,
            background,
            limits=limits,
            limiter=limiter,
            stop=stop,
            name=name,
        )
