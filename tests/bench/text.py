"""Text: memcached's text and meta protocol against the binary one of the same server, in one run, and a Debian memcached beside it.

The client has its requests ready, and counts reply bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
from multiprocessing.connection import Connection
from time import perf_counter

from commands import VALUE, exchange_on_many
from peer import memcached, spool_server
from report import Row, interleaved, median_ratio

from trio_spool.mcbp import Opcode, encode_request

CONNECTIONS = 50
DEPTH = 100
KEYS = [b"key:%04d" % number for number in range(DEPTH)]
# Requests: how they are named, and what they are compared with.
REQUESTS = {
    "binary GET": b"".join(encode_request(Opcode.GET, key=key) for key in KEYS),
    "get": b"".join(b"get %b\r\n" % key for key in KEYS),
    "gets": b"".join(b"gets %b\r\n" % key for key in KEYS),
    "get with 100 keys": b"get " + b" ".join(KEYS) + b"\r\n",
    "mg": b"".join(b"mg %b v\r\n" % key for key in KEYS),
    "mg with flags and keys": b"".join(b"mg %b v f c k\r\n" % key for key in KEYS),
    "mg with opaques and TTLs": b"".join(b"mg %b v t O%d\r\n" % (key, number) for number, key in enumerate(KEYS)),
    "binary SET": b"".join(encode_request(Opcode.SET, key=key, value=VALUE, extras=bytes(8)) for key in KEYS),
    "set": b"".join(b"set %b 0 0 100\r\n%b\r\n" % (key, VALUE) for key in KEYS),
    "ms": b"".join(b"ms %b 100\r\n%b\r\n" % (key, VALUE) for key in KEYS),
}
READS = tuple(name for name in REQUESTS if "get" in name.lower() or name.startswith("mg"))
TARGETS = {"get": "≥ 0.8", "mg": "≥ 0.8", "set": "≥ 0.8", "ms": "≥ 0.8"}


def client(pipe: Connection, port: int, name: str, rounds: int) -> None:
    """Send a prepared request on each connection, again and again as the whole reply has come, and time all of it."""
    request = REQUESTS[name]
    opened = []
    sizes = set()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.append(connection)
        sizes.add(_size_of_reply(connection, request))
    (size,) = sizes
    pipe.send(None)
    started = perf_counter()
    exchange_on_many(opened, request, size, rounds)
    seconds = perf_counter() - started
    for connection in opened:
        connection.close()
    pipe.send(CONNECTIONS * rounds * DEPTH / seconds)


def _size_of_reply(connection: socket.socket, request: bytes) -> int:
    """Return the bytes of a reply, which are all there once the one to a request behind it has come."""
    binary = request[0] == 0x80
    mark, end = (encode_request(Opcode.NOOP, opaque=77), b"\0\0\0M" + bytes(8)) if binary else (b"mn\r\n", b"MN\r\n")
    connection.sendall(request + mark)
    reply = b""
    while not reply.endswith(end):
        reply += connection.recv(1 << 20)
    return len(reply) - (24 if binary else len(end))


def measure(port: int, name: str, rounds: int) -> float:
    """Return the operations per second."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=client, args=(theirs, port, name, rounds), daemon=True)
    process.start()
    ours.recv()
    rate = float(ours.recv())
    process.join()
    return rate


def run(quick: bool) -> list[Row]:
    """Measure every request."""
    runs = 3 if quick else 7
    rows = []
    with (
        memcached() as other,
        spool_server("--engine", "lmdb", "--fsync", "no", os.path.join(tempfile.mkdtemp(), "data")) as (port, _),
    ):
        for each in filter(None, (port, other)):
            measure(each, "set", 1)
        reads, writes = (8, 3) if quick else (40, 12)
        ours = interleaved(runs, {name: lambda n=name: measure(port, n, reads if n in READS else writes) for name in REQUESTS})
        theirs = {}
        if other is not None:  # of another size, since it is faster
            theirs = interleaved(3, {name: lambda n=name: measure(other, n, 3 * reads) for name in ("get", "mg", "set", "ms")})
    case = f"{CONNECTIONS} connections, pipelined by {DEPTH}"
    for name, values in ours.items():
        reference = ours["binary GET" if name in READS else "binary SET"]
        ratio = None if values is reference else median_ratio(values, reference)
        rows.append(Row("text", case, name, statistics.median(values), "ops/s", ratio, TARGETS.get(name, "")))
    for name, values in theirs.items():
        rows.append(Row("text", case, f"{name}, memcached", statistics.median(values), "ops/s"))
    return rows
