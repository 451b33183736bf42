"""An HTTP server beside a service, on listeners of its own."""

from __future__ import annotations

import pytest
import trio

from support.http import Visitor
from support.service import wait_until
from trio_spool.server import ListenError, Service, Settings
from trio_spool.server._listening import listen
from trio_spool.server._site import serve_site
from trio_spool.server.http import HttpServer, Request, Response
from trio_spool.server.settings import parse_address
from trio_spool.server.shared import Shared

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Page:
    """A companion whose page waits."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.asked = trio.Event()
        self.go_on = trio.Event()

    async def __call__(self, shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
        self.server = HttpServer("page", self._handle, incidents=shared.incidents)
        opened = await listen(parse_address(self._address), shared.settings, login=False)
        await serve_site(self.server, opened, shared.incidents, task_status=task_status)

    async def _handle(self, request: Request) -> Response:
        self.asked.set()
        await self.go_on.wait()
        return Response(body=b"page")


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_it_is_served_and_its_last_request_is_answered(scheme: str, tmp_path) -> None:
    page = Page("tcp://127.0.0.1:0" if scheme == "tcp" else f"unix:{tmp_path}/page")
    settings = Settings(listen=("tcp://127.0.0.1:0",), engine="memory")
    stop = trio.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def run(task_status=trio.TASK_STATUS_IGNORED) -> None:
                await Service(settings, beside=[page]).run(task_status=task_status, stop=stop)

            _, address = await nursery.start(run)
            assert address.endswith(" (page)")
            place = address.removesuffix(" (page)")
            if scheme == "tcp":
                stream = await trio.open_tcp_stream("127.0.0.1", int(place.rsplit(":", 1)[1]))
            else:
                stream = await trio.open_unix_socket(place.removeprefix("unix:"))
            async with stream:
                visitor = Visitor(stream)
                await visitor.send(GET + GET)
                await page.asked.wait()
                stop.set()
                await wait_until(lambda: page.server._stopping)
                page.go_on.set()
                answer = await visitor.answer()
                assert (answer.body, answer.headers["connection"]) == (b"page", "close")
                assert await visitor.closed()


async def test_an_address_that_is_taken_keeps_the_service_from_starting() -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        page = Page(f"tcp://127.0.0.1:{taken.socket.getsockname()[1]}")
        service = Service(Settings(listen=("tcp://127.0.0.1:0",), engine="memory"), beside=[page])
        with pytest.raises(ListenError, match="in use by another program"):
            await service.run(stop=trio.Event())
