"""ASGI: rows of 100 B a second to one client, and the time from its leaving to the producer's ``finally``, in several ways.

Each run reads for a while, then leaves. Everything runs on uvicorn with httptools and uvloop, except hypercorn's own WSGI.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from report import Row, interleaved, median_ratio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.servers import Server, running  # noqa: E402

PATIENCE = 3.0  # seconds to wait for a finally
# The first of each group is what the others are compared with: the name, the server, and the application.
GROUPS = {
    "rows of 100 B": {
        "Starlette's own iterator": ("uvicorn_httptools", "asgi_side:by_starlette"),
        "asyncio.to_thread(next)": ("uvicorn_httptools", "asgi_side:by_to_thread"),
        "culsans": ("uvicorn_httptools", "asgi_side:by_culsans"),
        "Starlette over trio_spool.stream": ("uvicorn_httptools", "asgi_side:by_stream"),
        "trio_spool.asgi": ("uvicorn_httptools", "asgi_side:by_response"),
        "trio_spool.asgi.starlette": ("uvicorn_httptools", "asgi_side:by_starlette_response"),
    },
    "rows of 100 B from WSGI": {
        "a2wsgi": ("uvicorn_httptools", "asgi_side:by_a2wsgi"),
        "hypercorn's WSGI": ("hypercorn", "wsgi:asgi_side:wsgi"),
        "trio_spool.wsgi": ("uvicorn_httptools", "asgi_side:by_wsgi"),
    },
}
TARGETS = {"trio_spool.asgi": "≥ 100", "trio_spool.wsgi": "≥ 50"}


def _client(pipe: Connection, port: int, key: str, seconds: float) -> None:
    """Count the rows of a while, and report the rows a second and the moment of leaving."""
    buffer = bytearray(1 << 18)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{key} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        connection.recv_into(buffer)
        rows, started = 0, perf_counter()
        while perf_counter() - started < seconds:
            size = connection.recv_into(buffer)
            rows += buffer.count(b"|", 0, size)
        pace = rows / (perf_counter() - started)
    pipe.send((pace, time.monotonic()))


class Way:
    """One way to stream, in a server of its own. It notes how long its producers live on after their clients."""

    def __init__(self, kind: str, application: str) -> None:
        self._kind = kind
        self._application = application
        self._stack = ExitStack()
        self._server: Server | None = None
        self.times: list[float] = []

    def _start(self) -> Server:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self._stack.enter_context(running(self._kind, directory / "log", directory=HERE, application=self._application))

    def measure(self, seconds: float) -> float:
        """Return the rows a second of one run."""
        if self._server is None:
            self._server = self._start()
        key = self._server.key()
        pace, left = self._ask(self._server, key, seconds)
        try:
            self.times.append((self._server.reports.wait(key, "finally", PATIENCE)[1] - left) * 1000)
        except TimeoutError:
            self.times.append(PATIENCE * 1000)
            self.close()  # what its producer still does would slow the others down
        return pace

    def _ask(self, server: Server, key: str, seconds: float) -> tuple[float, float]:
        ours, theirs = multiprocessing.Pipe()
        client = multiprocessing.get_context("spawn").Process(target=_client, args=(theirs, server.port, key, seconds), daemon=True)
        client.start()
        try:
            pace, left = ours.recv()
            return pace, left
        finally:
            client.join()

    def close(self) -> None:
        """End the server."""
        self._stack.close()
        self._server = None


def run(quick: bool) -> list[Row]:
    """Measure all ways, in turn."""
    rounds, seconds = (3, 0.5) if quick else (7, 1.0)
    ways = {name: Way(*how) for group in GROUPS.values() for name, how in group.items()}
    try:
        paces = interleaved(rounds, {name: partial(way.measure, seconds) for name, way in ways.items()})
    finally:
        for way in ways.values():
            way.close()
    rows = []
    for case, group in GROUPS.items():
        reference = paces[next(iter(group))]
        for name in group:
            ratio = None if paces[name] is reference else median_ratio(paces[name], reference)
            rows.append(Row("asgi", case, name, statistics.median(paces[name]), "/s", ratio, TARGETS.get(name, "")))
    case = f"from leaving to finally, or {PATIENCE * 1000:,.0f} if later"
    for name, way in ways.items():
        target = "≤ 50 ms" if "trio_spool" in name else ""
        rows.append(Row("asgi", case, name, statistics.median(way.times), "ms", None, target))
    return rows
