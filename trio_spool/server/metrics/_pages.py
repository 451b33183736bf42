"""The pages: metrics, health and readiness, on listeners of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from .._listening import BoundListener, listen
from .._site import serve_site
from ..http import HttpError, HttpServer, Request, Response
from ..shared import Shared
from ._encoding import Format, encode_in_thread, negotiate
from ._health import unhealthy, unready
from ._samples import Sample, Samples, gather

_NAME: Final = "metrics"
# For so many times as long as it took to make a scrape, no other one is made: whoever asks again and again gets a fifth of one
# processor. Picked, not measured. Who asks every second or more seldom never waits.
REST: Final = 4
# But no longer than this, in seconds: on a busy machine, most of that time was spent on something else.
MAX_REST: Final = 1.0


async def serve_metrics(shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Serve the pages on the addresses that the settings name, until cancelled.

    Raises:
        ListenError: It can't listen on an address.
    """
    settings, opened = shared.settings, list[BoundListener]()
    try:
        for address in settings.metrics_addresses:
            opened += await listen(address, settings, login=False)
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    server = HttpServer(_NAME, Pages(shared).answer, incidents=shared.incidents)
    await serve_site(server, opened, shared.incidents, task_status=task_status)


class Pages:
    """Answers requests.

    Args:
        shared: What there is to show.

    Attributes:
        gathered: How often the metrics were gathered.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }
        self._thread = trio.CapacityLimiter(1)
        self._turn = trio.Lock()  # one gathers at a time
        self._samples: Samples = {}
        self._encoded: dict[Format, bytes] = {}  # of these samples
        self._began = -1.0  # when they were begun to be gathered, by Trio's clock
        self._took = 0.0
        self._rests_until = 0.0
        self.gathered = 0

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        page = self._pages.get(request.path)
        if page is None:
            raise HttpError(404, f"nothing is here; there are {', '.join(self._pages)}")
        if request.method != "GET":
            raise HttpError(405, f"{request.path} can only be read, by GET or HEAD", (("Allow", "GET, HEAD"),))
        return await page(request)

    async def _metrics(self, request: Request) -> Response:
        """Return the metrics. Those who ask while others are served share one answer: many who ask cost little more than one."""
        wanted, asked = negotiate(request.headers.get("accept", "")), trio.current_time()
        async with self._turn:
            if self._began < asked:
                await trio.sleep_until(self._rests_until)
                await self._gather()
            if wanted not in self._encoded:
                began, samples = trio.current_time(), self._samples
                self._encoded[wanted] = await trio.to_thread.run_sync(encode_in_thread, samples, wanted, limiter=self._thread)
                self._rest(trio.current_time() - began)
            return Response(body=self._encoded[wanted], content_type=wanted.value, compress=True)

    async def _gather(self) -> None:
        began = trio.current_time()
        samples = await gather(self._shared, self._thread)
        self.gathered += 1
        samples["scrapes"] = [Sample((), float(self.gathered))]
        samples["scrape_seconds"] = [Sample((), self._took)]
        self._samples, self._began, self._encoded = samples, began, {}
        self._took = trio.current_time() - began
        self._rest(self._took)

    def _rest(self, worked: float) -> None:
        self._rests_until = max(self._rests_until, trio.current_time()) + min(REST * worked, MAX_REST)

    async def _health(self, request: Request) -> Response:
        reasons = unhealthy(self._shared)
        return _told(503, "; ".join(reasons)) if reasons else _told(200, "healthy")

    async def _readiness(self, request: Request) -> Response:
        reason = unready(self._shared)
        return _told(503, reason) if reason else _told(200, "ready")


def _told(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode())
