"""WSGI: one application under ASGI servers, by this library's adapter, by a2wsgi's, and by hypercorn's own."""

from __future__ import annotations

import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from report import Row, interleaved, median_ratio

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.servers import kill_session

UVICORN = ("uvicorn", "--log-level", "warning", "--no-access-log", "--port", "PORT")
HYPERCORN = ("hypercorn", "--log-level", "warning", "--bind", "127.0.0.1:PORT", "--worker-class")
# The reference of each server comes first: other people's way to run WSGI there.
SERVERS: dict[str, dict[str, tuple[str, ...]]] = {
    "uvicorn": {
        "a2wsgi": (*UVICORN, "wsgi_application:a2wsgi"),
        "trio_spool": (*UVICORN, "wsgi_application:spooled"),
        "trio_spool, give_back": (*UVICORN, "wsgi_application:giving_back"),
    },
    "hypercorn, Trio": {
        "hypercorn's own": (*HYPERCORN, "trio", "wsgi_application:own_on_trio"),
        "trio_spool": (*HYPERCORN, "trio", "wsgi_application:spooled"),
    },
    "hypercorn, asyncio": {
        "hypercorn's own": (*HYPERCORN, "asyncio", "wsgi_application:own_on_asyncio"),
        "a2wsgi": (*HYPERCORN, "asyncio", "wsgi_application:a2wsgi"),
        "trio_spool": (*HYPERCORN, "asyncio", "wsgi_application:spooled"),
    },
}
TARGETS = {"rows": "≥ 50 (a2wsgi)", "hello": "≥ 1.2 (a2wsgi)"}
CONNECTIONS = 16  # at once, for "hello"; picked, not measured


def connect(port: int) -> socket.socket:
    """Connect to a server, which may still be starting."""
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def serving(command: tuple[str, ...]) -> Iterator[int]:
    """Run a server; yield its port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = int(unused.getsockname()[1])
    words = [word.replace("PORT", str(port)) for word in command]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, "-m", *words], env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
    try:
        connect(port).close()
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            kill_session(process)


def request(path: str) -> bytes:
    """Return the bytes of a request."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def rows_per_second(port: int, count: int) -> float:
    """Ask for rows, and receive all of them."""
    with connect(port) as client:
        buffer = bytearray(1 << 20)
        started = time.perf_counter()
        client.sendall(request(f"/rows?{count}"))
        received = size = 0
        while received < count * 100 or bytes(buffer[max(0, size - 5) : size]) != b"0\r\n\r\n":
            size = client.recv_into(buffer)
            assert size, "the answer was broken off"
            received += size
        return count / (time.perf_counter() - started)


def hellos_per_second(port: int, count: int) -> float:
    """Send requests on several connections, each when the last one's answer has come."""
    answered = 0
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            client = stack.enter_context(connect(port))
            selector.register(client, selectors.EVENT_READ, bytearray())
            client.sendall(request("/hello"))
        started = time.perf_counter()
        while answered < count:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                key.data.extend(key.fileobj.recv(65536))
                # Either the length is announced, or the answer ends with an empty chunk.
                if key.data.endswith((b"\r\n0\r\n\r\n", b"\r\n\r\nhello world")):
                    key.data.clear()
                    answered += 1
                    key.fileobj.sendall(request("/hello"))
        return answered / (time.perf_counter() - started)


def run(quick: bool) -> list[Row]:
    """Measure each server with its adapters, in turn."""
    runs = 3 if quick else 7
    rows = []
    for server, commands in SERVERS.items():
        with ExitStack() as stack:
            ports = {adapter: stack.enter_context(serving(command)) for adapter, command in commands.items()}
            variants: dict[str, dict[str, Callable[[], float]]] = {
                # Each is measured for about as long as the others.
                "rows": {
                    adapter: partial(rows_per_second, port, 1_000_000 if adapter.startswith("trio_spool") else 10_000)
                    for adapter, port in ports.items()
                },
                "hello": {adapter: partial(hellos_per_second, port, 500 if quick else 2000) for adapter, port in ports.items()},
            }
            for case, measures in variants.items():
                measured = interleaved(runs, measures)
                reference = measured[next(iter(commands))]
                for adapter, values in measured.items():
                    ratio = None if values is reference else median_ratio(values, reference)
                    target = TARGETS[case] if server == "uvicorn" and ratio is not None else ""
                    rows.append(Row("wsgi", f"{case}, {server}", adapter, statistics.median(values), "/s", ratio, target))
    return rows
