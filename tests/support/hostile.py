"""A server in a thread that plays any bytes, for the commands."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from support.replies import reply_to
from trio_spool.mcbp import Opcode, Status, encode_response

_HEADER = 24


def _requests(connection: socket.socket) -> Iterator[bytes]:
    """Yield the requests of a connection, whole."""
    data = b""
    while True:
        while len(data) < _HEADER or len(data) < (size := _HEADER + int.from_bytes(data[8:12], "big")):
            more = connection.recv(65536)
            if not more:
                return
            data += more
        yield data[:size]
        data = data[size:]


def _serve(listener: socket.socket, answers: Mapping[int, bytes]) -> None:
    with suppress(OSError):  # the listener is closed at the end
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                for request in _requests(connection):
                    answer = answers.get(request[1])
                    if answer is None:
                        answer = encode_response(request[1], Status.UNKNOWN_COMMAND, 0)
                    connection.sendall(reply_to(request, answer))


@contextmanager
def playing(answers: Mapping[Opcode, bytes]) -> Iterator[str]:
    """Run a server that answers each opcode with these bytes, and every other one with *unknown command*; give its ``HOST:PORT``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, dict(answers)), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
