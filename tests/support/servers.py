"""Servers in processes of their own, and clients with sockets of their own, which can leave whenever they like."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path

TESTS = Path(__file__).parent.parent
PATIENCE = 60.0  # seconds until a test gives up; picked, not measured

COMMANDS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "--http", "h11", "--loop", "asyncio", "--port", "PORT", "--no-access-log"),
    "uvicorn_httptools": ("uvicorn", "--http", "httptools", "--loop", "uvloop", "--port", "PORT", "--no-access-log"),
    "hypercorn": ("hypercorn", "--worker-class", "asyncio", "--bind", "127.0.0.1:PORT"),
    "hypercorn_trio": ("hypercorn", "--worker-class", "trio", "--bind", "127.0.0.1:PORT"),
    "granian": ("granian", "--interface", "asgi", "--port", "PORT", "--no-ws"),
}


class Reports:
    """What the producers of a server report, in the order in which it comes. A thread receives it, so that nothing is dropped."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._come = threading.Condition()
        self._seen: dict[str, list[tuple[str, int, float]]] = {}
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._receive, name="reports", daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while report := self._socket.recv(1000):
            key, event, thread, moment = report.decode().split()
            with self._come:
                self._seen.setdefault(key, []).append((event, int(thread), float(moment)))
                self._last = time.monotonic()
                self._come.notify_all()

    def find(self, key: str, event: str) -> tuple[int, float] | None:
        """Return the thread and the time of a report, if it has come."""
        return next((seen[1:] for seen in self._seen.get(key, ()) if seen[0] == event), None)

    def wait(self, key: str, event: str, patience: float = PATIENCE) -> tuple[int, float]:
        """Wait for a report, and return its thread and time."""
        with self._come:
            if not self._come.wait_for(lambda: self.find(key, event), patience):
                raise TimeoutError(f"no report {event!r} of {key} in {patience} s; there were {self.events(key)}")
        found = self.find(key, event)
        assert found is not None
        return found

    def wait_until_quiet(self, seconds: float) -> None:
        """Wait until nothing has been reported for so long."""
        while (left := self._last + seconds - time.monotonic()) > 0:
            time.sleep(left)

    def events(self, key: str) -> list[str]:
        """Return what has been reported of a key."""
        return [event for event, _, _ in self._seen.get(key, ())]

    def close(self) -> None:
        """Receive no more."""
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


class Client(AbstractContextManager["Client"]):
    """One connection, and one response on it."""

    def __init__(self, port: int, path: str, method: str = "GET", *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            # With the segments of loopback, of 64 KiB, the system makes the server's buffer as large as 2.5 MB.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = 0
        self.headers: dict[str, str] = {}

    def read_head(self) -> int:
        """Read the status and the headers, and return the status."""
        self.status = int(self._file.readline().split()[1])
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()
        return self.status

    def read_chunk(self) -> bytes:
        """Read one chunk; an empty one is the end.

        Raises:
            ConnectionError: The response was broken off.
        """
        line = self._file.readline()
        if not line:
            raise ConnectionError("the response has no end")
        size = int(line, 16)
        data = self._file.read(size)
        if len(data) < size or self._file.read(2) != b"\r\n":
            raise ConnectionError("the connection ended in a chunk")
        return data

    def read_body(self) -> bytes:
        """Read what follows the headers, to its end.

        Raises:
            ConnectionError: The response was broken off.
        """
        if "content-length" in self.headers:
            data = self._file.read(int(self.headers["content-length"]))
            if len(data) < int(self.headers["content-length"]):
                raise ConnectionError("the response is too short")
            return data
        return b"".join(iter(self.read_chunk, b""))

    def leave(self) -> float:
        """End the connection, and return when."""
        moment = time.monotonic()
        self._file.close()
        self._socket.close()
        return moment

    def __exit__(self, *exc: object) -> None:
        self.leave()


class Server:
    """A server, its reports, and keys that tell its requests apart."""

    def __init__(self, kind: str, process: subprocess.Popen[bytes], port: int, reports: Reports, log: Path) -> None:
        self.kind = kind
        self.process = process
        self.port = port
        self.reports = reports
        self.log = log
        self._numbers = count()

    def key(self) -> str:
        return f"k{next(self._numbers)}"

    def get(self, path: str, method: str = "GET", **options: int) -> Client:
        return Client(self.port, path, method, **options)

    def stop(self) -> int:
        """Send SIGTERM, and wait for the end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


@contextmanager
def running(
    kind: str, log: Path, *more: str, directory: Path = TESTS / "frameworks", application: str = "applications:app"
) -> Iterator[Server]:
    """Run a server, with an application of a module in a directory, until the block ends."""
    reports = Reports()
    port = _free_port()
    command = [word.replace("PORT", str(port)) for word in COMMANDS[kind]]
    path = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "REPORT_PORT": str(reports.port), "PYTHONWARNINGS": "ignore"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *more, application],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            assert _listens(process, port), f"{kind} does not listen: {log.read_text()}"
            yield Server(kind, process, port, reports, log)
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):  # hypercorn and granian wait for stalled clients
                    process.wait(5)
            kill_session(process)
            reports.close()


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session, and its children: the workers of hypercorn outlive it if it is killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
