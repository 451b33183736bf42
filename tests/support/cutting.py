"""A TCP forwarder that stops for good once a client sends some bytes: what the client did before is done, and nothing after."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cut:
    """A running forwarder.

    Attributes:
        port: The port at 127.0.0.1 that it listens on.
        cut: Set once the bytes have come. From then on, nothing is forwarded in either direction.
    """

    def __init__(self, pattern: bytes, *, deliver: bool) -> None:
        self._pattern = pattern
        self._deliver = deliver
        self._sockets: list[socket.socket] = []
        self._place = ("", 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = threading.Event()

    def lead_to(self, host: str, port: int) -> None:
        """Forward connections to a place."""
        self._place = (host, port)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._place)
                self._sockets += [client, server]
                for source, sink, watched in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, sink, watched), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        seen = b""
        with suppress(OSError):
            while data := source.recv(65536):
                seen = seen[-len(self._pattern) :] + data
                if watched and self._pattern in seen and not self.cut.is_set():
                    self.cut.set()
                    if self._deliver:
                        sink.sendall(data)
                elif not self.cut.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End all connections."""
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def cutting(pattern: bytes, *, deliver: bool) -> Iterator[Cut]:
    """Run a forwarder until the block ends.

    Args:
        pattern: The bytes at which it stops. It is looked for in what clients send.
        deliver: Whether what comes together with these bytes still arrives.
    """
    cut = Cut(pattern, deliver=deliver)
    try:
        yield cut
    finally:
        cut.close()
