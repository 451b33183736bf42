"""The applications that the benchmark `asgi` asks for endless rows of 100 B, made in several ways.

When the producer of a request for ``/KEY`` ends, a datagram with the key goes to the port of the environment variable REPORT_PORT.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

import culsans
from a2wsgi import WSGIMiddleware as A2WSGI
from starlette.responses import StreamingResponse

from trio_spool import stream
from trio_spool.asgi import StreamResponse
from trio_spool.asgi.starlette import StreamResponse as StarletteResponse
from trio_spool.wsgi import WSGIMiddleware

ROW = b"x" * 99 + b"|"
PLAIN = [(b"content-type", b"text/plain")]

_reports = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_reports.connect(("127.0.0.1", int(os.environ.get("REPORT_PORT", "9"))))


def rows(key: str) -> Iterator[bytes]:
    """Yield rows for ever."""
    try:
        while True:
            yield ROW
    finally:
        with suppress(OSError):
            _reports.send(f"{key} finally 0 {time.monotonic()}".encode())


async def _watched(send_rows: Coroutine[Any, Any, None], receive: Any) -> None:
    """Run what sends until the client leaves."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(send_rows), asyncio.ensure_future(listen())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _key(scope: Any) -> str:
    return str(scope["path"][1:])


async def by_to_thread(scope: Any, receive: Any, send: Any) -> None:
    """Ask for each row in a thread."""
    producer = rows(_key(scope))

    async def send_rows() -> None:
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        while True:
            await send({"type": "http.response.body", "body": await asyncio.to_thread(next, producer), "more_body": True})

    try:
        await _watched(send_rows(), receive)
    finally:
        await asyncio.to_thread(producer.close)


async def by_culsans(scope: Any, receive: Any, send: Any) -> None:
    """Hand rows over in a queue of at most 1,000; what is in it is sent together."""
    queue: culsans.Queue[bytes] = culsans.Queue(1000)

    def produce() -> None:
        producer = rows(_key(scope))
        try:
            for row in producer:
                queue.sync_q.put(row)
        except culsans.QueueShutDown:
            producer.close()

    async def send_rows() -> None:
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        while True:
            batch = [await queue.async_q.get()]
            with suppress(culsans.QueueEmpty):
                while len(batch) < 1000:
                    batch.append(queue.async_q.get_nowait())
            await send({"type": "http.response.body", "body": b"".join(batch), "more_body": True})

    thread = asyncio.ensure_future(asyncio.to_thread(produce))
    try:
        await _watched(send_rows(), receive)
    finally:
        queue.shutdown(immediate=True)
        await thread


async def by_starlette(scope: Any, receive: Any, send: Any) -> None:
    """Let Starlette ask for each row in a thread."""
    await StreamingResponse(rows(_key(scope)))(scope, receive, send)


async def by_stream(scope: Any, receive: Any, send: Any) -> None:
    """Let Starlette send a stream."""
    await StreamingResponse(stream(rows(_key(scope))))(scope, receive, send)


async def by_response(scope: Any, receive: Any, send: Any) -> None:
    """Answer with this library's response."""
    await StreamResponse(rows(_key(scope)))(scope, receive, send)


async def by_starlette_response(scope: Any, receive: Any, send: Any) -> None:
    """Answer with this library's response for Starlette."""
    await StarletteResponse(rows(_key(scope)))(scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer as a WSGI application does."""
    start_response("200 OK", [("content-type", "text/plain")])
    return rows(environ["PATH_INFO"][1:])


by_a2wsgi = A2WSGI(wsgi)
by_wsgi = WSGIMiddleware(wsgi)
