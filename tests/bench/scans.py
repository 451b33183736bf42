"""Range scans: a million documents of 200 bytes to a reader in another process, against a plain thread that walks the same database.

The plain thread encodes the same frames and writes its own socket, with a buffer of 64 KiB. Then the same documents as Couchbase's
SDKs ask for them, 50 a continue.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import lmdb
from peer import spool_server
from report import Row, interleaved, median_ratio

from trio_spool.engine import Store, open_engine
from trio_spool.mcbp import (
    CONTINUE,
    DOCUMENTS_EXTRAS,
    HEADER,
    Opcode,
    ScanRequest,
    Status,
    encode_request,
    encode_scan_frame,
    encode_scan_request,
    pack_documents,
)

DOCUMENT = b"d" * 200
FRAME_RECORDS = 128
BUFFER = 64 * 1024
SDK_ITEMS, SDK_BYTES, SDK_MS = 50, 15_000, 75_000
CREATE = encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))


def fill(path: Path, count: int, value: bytes = DOCUMENT) -> None:
    """Store documents."""
    with open_engine("lmdb", path, fsync="no") as engine:
        for start in range(0, count, 10_000):
            engine.execute([Store(b"\0doc:%08d" % number, value) for number in range(start, min(start + 10_000, count))])


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Receive so many bytes."""
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def drain_scan(connection: socket.socket, buffer: bytearray) -> int:
    """Read frames up to the one that ends a continue, whose status it returns. Only the headers are looked at."""
    view = memoryview(buffer)
    have = start = 0
    while True:
        while have - start >= HEADER.size:
            _, _, _, _, _, status, body, _, _ = HEADER.unpack_from(buffer, start)
            end = start + HEADER.size + body
            if status:
                while have < end:
                    count = connection.recv_into(view)
                    end -= have
                    have = count
                return int(status)
            start = end
        if start >= have:  # skip the rest of a frame
            missing = start - have
            start = have = 0
            while missing > len(buffer):
                missing -= connection.recv_into(view)
            have = connection.recv_into(view)
            start = missing
        else:
            rest = buffer[start:have]
            buffer[: len(rest)] = rest
            start, have = 0, len(rest)
            have += connection.recv_into(view[have:])


def create(connection: socket.socket) -> bytes:
    """Create a scan of everything."""
    connection.sendall(CREATE)
    reply = receive_exactly(connection, HEADER.size + 16)
    assert HEADER.unpack_from(reply)[5] == Status.OK
    return reply[HEADER.size :]


def continued(identity: bytes, items: int = 0, milliseconds: int = 0, size: int = 0) -> bytes:
    """Encode a continue."""
    return encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, items, milliseconds, size))


def _read_all(pipe: Connection, port: int, ask: bool) -> None:
    """Scan everything, with one continue, and report the seconds."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        started = perf_counter()
        if ask:
            connection.sendall(continued(create(connection)))
        assert drain_scan(connection, buffer) == Status.SCAN_COMPLETE
        pipe.send(perf_counter() - started)


def _read_like_sdk(pipe: Connection, port: int, most: int) -> None:
    """Scan in small continues, and report how many there were and the seconds."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        identity = create(connection)
        request = continued(identity, SDK_ITEMS, SDK_MS, SDK_BYTES)
        started = perf_counter()
        for count in range(1, most + 1):
            connection.sendall(request)
            if drain_scan(connection, buffer) == Status.SCAN_COMPLETE:
                break
        pipe.send((count, perf_counter() - started))


def in_process(target: object, *arguments: object) -> object:
    """Run a function in a process of its own, and return what it reports."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is noticed
    reported = ours.recv()
    process.join()
    return reported


def _walk(environment: lmdb.Environment, connection: socket.socket) -> None:
    record = struct.Struct(">BLQQQ")
    items = environment.open_db(b"items")
    out = bytearray()
    documents = []
    with connection, environment.begin(db=items) as transaction, transaction.cursor() as cursor:
        for key, data in cursor:
            datatype, flags, expiry, cas, seqno = record.unpack_from(data)
            documents.append((key, data[record.size :], flags, expiry, datatype, cas, seqno))
            if len(documents) == FRAME_RECORDS:
                out += encode_scan_frame(0, 0, DOCUMENTS_EXTRAS, pack_documents(documents, 1))
                documents = []
                if len(out) >= BUFFER:
                    connection.sendall(out)
                    out.clear()
        out += encode_scan_frame(Status.SCAN_COMPLETE, 0, DOCUMENTS_EXTRAS, pack_documents(documents, 1))
        connection.sendall(out)


def _plain(pipe: Connection, path: str) -> None:
    environment = lmdb.open(path, readonly=True, max_dbs=8, readahead=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            thread = threading.Thread(target=_walk, args=(environment, connection))
            thread.start()
            thread.join()


@contextmanager
def plain_server(path: Path) -> Iterator[int]:
    """Run the plain thread, in a process of its own, and give its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_plain, args=(theirs, str(path)), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()


def run(quick: bool) -> list[Row]:
    """Measure both ways."""
    count = 200_000 if quick else 1_000_000
    path = Path(tempfile.mkdtemp()) / "data"
    fill(path, count)
    case = f"{count:,} documents of {len(DOCUMENT)} B"
    with spool_server("--fsync", "no", str(path)) as (port, _), plain_server(path) as plain_port:
        measured = interleaved(
            3 if quick else 7,
            {
                "a plain thread": lambda: count / in_process(_read_all, plain_port, False),
                "one continue": lambda: count / in_process(_read_all, port, True),
            },
        )
        reference = measured["a plain thread"]
        rows = [
            Row("scan", case, "a plain thread", statistics.median(reference), "documents/s"),
            Row(
                "scan", case, "one continue", statistics.median(measured["one continue"]), "documents/s",
                median_ratio(measured["one continue"], reference), "≥ 0.8",
            ),
        ]  # fmt: skip
        like_sdk = [in_process(_read_like_sdk, port, 2000) for _ in range(3 if quick else 7)]
    rows.append(
        Row("scan", case, "50 a continue", statistics.median(n * SDK_ITEMS / s for n, s in like_sdk), "documents/s")
    )  # fmt: skip
    rows.append(Row("scan", case, "50 a continue: each", statistics.median(s / n * 1e6 for n, s in like_sdk), "µs"))
    return rows
