"""Processes at the other end: one that reads and counts, and a memcached."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection


def _read(pipe: Connection, connections: int) -> None:
    buffer = bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        for _ in range(connections):
            connection, _address = listener.accept()
            total = 0
            with connection:
                with suppress(ConnectionResetError):  # a stream that was cut off
                    while count := connection.recv_into(buffer):
                        total += count
            try:
                pipe.send(total)
            except BrokenPipeError:
                return  # nobody wants to know


class Reader:
    """A process that accepts one connection after another, reads each to its end, and reports its bytes."""

    def __init__(self, connections: int) -> None:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_read, args=(other, connections), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()

    def total(self) -> int:
        """Wait for the end of the connection, and return the bytes."""
        return int(self._pipe.recv())


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


@contextmanager
def memcached(*arguments: str) -> Iterator[int | None]:
    """Run Debian's memcached, if it is installed, and give its port."""
    program = shutil.which("memcached")
    if program is None:
        yield None
        return
    port = free_port()
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-c", "2048", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


@contextmanager
def spool_server(*arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run ``trio-spool serve``, and give its port and process."""
    command = [sys.executable, "-m", "trio_spool", "serve", "--listen", "tcp://127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2]), process
        finally:
            process.terminate()
