"""What the soak tests share: how long they are, clients of a server in a process of its own, and what a process holds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from trio_spool.mcbp import NEED_DATA, Opcode, Response, ResponseDecoder, encode_request

T = TypeVar("T")

# Whether the tests take as long as ``nox -s soak`` lets them.
LONG = os.environ.get("TRIO_SPOOL_SOAK") == "1"
PATIENCE = 60.0  # seconds for what takes much less, even on a busy machine
_PAGE = os.sysconf("SC_PAGESIZE")


def scaled(short: T, long: T) -> T:
    """Return how many of something there are: in the suite, or in the long session."""
    return long if LONG else short


class Lost(Exception):
    """The server has closed the connection."""


class Wire:
    """A connection that sends any bytes and decodes what comes back."""

    def __init__(self, port: int, *, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = ResponseDecoder()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        """Send frames.

        Raises:
            Lost: The server has closed the connection.
        """
        try:
            self.socket.sendall(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise Lost from exc

    def receive(self) -> Response:
        """Return the next response.

        Raises:
            Lost: The server has closed the connection.
        """
        while (event := self._decoder.next_event()) is NEED_DATA:
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError as exc:
                raise Lost from exc
            if not data:
                raise Lost
            self._decoder.receive_data(data)
        assert isinstance(event, Response)
        return event

    def call(self, opcode: int, **fields: object) -> Response:
        """Send a request, and return the response."""
        self.send(encode_request(opcode, **fields))  # type: ignore[arg-type]
        return self.receive()

    def stat(self, group: bytes = b"") -> dict[str, str]:
        """Return a group of statistics."""
        self.send(encode_request(Opcode.STAT, key=group))
        rows = {}
        while (row := self.receive()).key:
            rows[row.key.decode()] = row.value.decode()
        assert row.status == 0, row
        return rows


class Held(NamedTuple):
    """What a process holds.

    Attributes:
        memory: Bytes of its resident memory.
        threads: The number of its threads.
        descriptors: The number of its open files.
    """

    memory: int
    threads: int
    descriptors: int


def held_by(pid: int) -> Held:
    """Look at a process."""
    statm = Path(f"/proc/{pid}/statm").read_text().split()
    return Held(int(statm[1]) * _PAGE, len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd")))


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for what another process brings about."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


# Threads of Trio that have nothing to do end after 10 s.
_IDLE_THREADS = 30.0


@contextmanager
def gives_back(pid: int, port: int, *, memory: float = 1.5) -> Iterator[Held]:
    """Check that a server holds as much after a block as before: descriptors, threads, connections,
    tasks, scans, snapshots, and nearly as much memory.

    Args:
        pid: Of the server.
        port: Of the server.
        memory: By which factor its memory may have grown.
    """
    before = _held_at_rest(pid, port)
    yield before
    after = _held_at_rest(pid, port)
    assert after.descriptors <= before.descriptors, (before, after)
    wait_until(lambda: held_by(pid).threads <= before.threads, _IDLE_THREADS)
    after = held_by(pid)
    assert after.memory <= before.memory * memory, (before, after)


def _held_at_rest(pid: int, port: int) -> Held:
    """Look at a server once it has nothing to do, and nobody is connected."""
    with Wire(port) as wire:
        wait_until(lambda: wire.stat()["curr_connections"] == "1" and not any(map(str.isdigit, wire.stat(b"tasks"))))
        wait_until(lambda: wire.stat(b"range-scans")["open"] == "0" and wire.stat(b"snapshots")["kept"] == "0")
        connected = held_by(pid).descriptors
    wait_until(lambda: held_by(pid).descriptors < connected)
    return held_by(pid)
