"""File fragments: 1 GB of a file to a reader in another process, against ``socket.sendfile`` from a plain thread."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from peer import spool_server
from report import Row, interleaved, median_ratio
from scans import fill, in_process, receive_exactly

from trio_spool.mcbp import HEADER, FragmentRequest, Opcode, encode_fragment_request, encode_request

CHECKSUM_LENGTH = 64 * 1024


def prepare(port: int) -> tuple[bytes, int]:
    """Prepare a snapshot, and return its uuid and the size of its first file."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(encode_request(Opcode.PREPARE_SNAPSHOT))
        _, _, _, _, _, status, body, _, _ = HEADER.unpack(receive_exactly(connection, HEADER.size))
        value = receive_exactly(connection, body)
        assert status == 0, value
        manifest = json.loads(value)
    return manifest["uuid"].encode(), int(manifest["files"][0]["size"])


def _read(pipe: Connection, port: int, request: bytes, size: int) -> None:
    """Send a request, if there is one, and read so many bytes; report the seconds."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        started = perf_counter()
        connection.sendall(request)
        while size > 0:
            count = connection.recv_into(buffer)
            assert count, f"the connection ended with {size} bytes missing"
            size -= count
        pipe.send(perf_counter() - started)


def _sendfile(pipe: Connection, path: str) -> None:
    def send(connection: socket.socket) -> None:
        with connection, open(path, "rb") as file:
            connection.sendfile(file)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            thread = threading.Thread(target=send, args=(connection,))
            thread.start()
            thread.join()


@contextmanager
def sendfile_server(path: Path) -> Iterator[int]:
    """Run the plain thread, in a process of its own, and give its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_sendfile, args=(theirs, str(path)), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()


def run(quick: bool) -> list[Row]:
    """Measure it without and with checksums."""
    path = Path(tempfile.mkdtemp()) / "data"
    fill(path, (1 << 28 if quick else 1 << 30) // (1 << 20), os.urandom(1 << 20))
    with spool_server("--fsync", "no", str(path)) as (port, _):
        identity, size = prepare(port)

        def request(checksum_length: int) -> tuple[bytes, int]:
            wanted = FragmentRequest(id=1, offset=0, length=size, checksum_length=checksum_length)
            frame = encode_request(Opcode.GET_FILE_FRAGMENT, key=identity, value=encode_fragment_request(wanted))
            return frame, HEADER.size + wanted.body_length

        plain, checked = request(0), request(CHECKSUM_LENGTH)
        (directory,) = (path / "snapshots").iterdir()
        with sendfile_server(directory / "data.mdb") as sendfile_port:
            measured = interleaved(
                3 if quick else 7,
                {
                    "sendfile in a plain thread": lambda: size / in_process(_read, sendfile_port, b"", size) / 1e6,
                    "fragment": lambda: size / in_process(_read, port, *plain) / 1e6,
                    "fragment, CRC32-C": lambda: size / in_process(_read, port, *checked) / 1e6,
                },
            )
    reference = measured.pop("sendfile in a plain thread")
    case = f"{size / 1e6:,.0f} MB"
    rows = [Row("file fragment", case, "sendfile in a plain thread", statistics.median(reference), "MB/s")]
    for variant, values in measured.items():
        target = "≥ 0.4" if "CRC" in variant else "≥ 0.7"
        ratio = median_ratio(values, reference)
        rows.append(Row("file fragment", case, variant, statistics.median(values), "MB/s", ratio, target))
    return rows
