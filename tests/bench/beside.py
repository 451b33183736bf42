"""What else a service does while scans stream: NOOP round trips beside two scans, SETs beside one, and the names of all keys beside
connections that ask for one item after the other.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from commands import client, measure
from first_fragment import percentile
from peer import spool_server
from report import Row, interleaved, median_ratio
from scans import continued, create, drain_scan, fill, in_process, receive_exactly

from trio_spool.mcbp import HEADER, Opcode, encode_request

PIPELINE = 100


def _scan_for_ever(pipe: Connection, port: int) -> None:
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        pipe.send(None)
        while True:
            connection.sendall(continued(create(connection)))
            drain_scan(connection, buffer)


def _stalled(pipe: Connection, port: int) -> None:
    """Begin a scan, and read nothing of it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(continued(create(connection)))
        pipe.send(None)
        pipe.recv()


@contextmanager
def scanning(port: int, count: int, target: object = _scan_for_ever) -> Iterator[None]:
    """Scan on so many connections, each from a process of its own."""
    processes = []
    for _ in range(count):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, port), daemon=True)
        process.start()
        ours.recv()
        processes.append((process, ours))
    try:
        yield
    finally:
        for process, _ours in processes:
            process.kill()
            process.join()


def _noops(pipe: Connection, port: int, count: int) -> None:
    frame = encode_request(Opcode.NOOP)
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = perf_counter()
            connection.sendall(frame)
            receive_exactly(connection, HEADER.size)
            latencies.append(perf_counter() - started)
    pipe.send(latencies)


def _sets(pipe: Connection, port: int, rounds: int) -> None:
    frames = [encode_request(Opcode.SET, key=b"set:%04d" % n, value=b"v" * 200, extras=bytes(8)) for n in range(PIPELINE)]
    request = b"".join(frames)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = perf_counter()
        for _ in range(rounds):
            connection.sendall(request)
            receive_exactly(connection, HEADER.size * PIPELINE)
        pipe.send(rounds * PIPELINE / (perf_counter() - started))


def _keys(pipe: Connection, port: int, count: int) -> None:
    """Ask for the names of all keys."""
    end = encode_request(Opcode.NOOP, opaque=0x454E4421)
    tail = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        started = perf_counter()
        connection.sendall(encode_request(Opcode.STAT, key=b"keys") + end)
        while tail[1:16] != end[1:16]:
            tail = (tail + connection.recv(1 << 20))[-HEADER.size :]
        pipe.send(count / (perf_counter() - started))


@contextmanager
def asking(port: int, depth: int) -> Iterator[None]:
    """GET on 50 connections, again and again, from one process."""
    ours, theirs = multiprocessing.Pipe()
    arguments = (theirs, port, Opcode.GET, depth, 50, 10**9)
    process = multiprocessing.get_context("spawn").Process(target=client, args=arguments, daemon=True)
    process.start()
    ours.recv()
    try:
        yield
    finally:
        process.kill()
        process.join()


def run(quick: bool) -> list[Row]:
    """Measure all of it."""
    path = Path(tempfile.mkdtemp()) / "data"
    count = 200_000
    fill(path, count)
    noops, rounds = (2000, 100) if quick else (10_000, 400)
    rows = []
    with spool_server("--fsync", "no", "--max-scan-life", "100000", str(path)) as (port, _):
        for variant, scans in (("nothing else", 0), ("beside two scans", 2)):
            with scanning(port, scans):
                latencies = [1000 * value for value in in_process(_noops, port, noops)]  # type: ignore[attr-defined]
            targets = ("≤ 0.5 ms", "≤ 3 ms") if scans else ("", "")
            rows.append(Row("noop", "round trip, median", variant, statistics.median(latencies), "ms", None, targets[0]))
            rows.append(Row("noop", "round trip, p99", variant, percentile(latencies, 0.99), "ms", None, targets[1]))

        def sets(scans: int, target: object = _scan_for_ever) -> float:
            with scanning(port, scans, target):
                return float(in_process(_sets, port, rounds))  # type: ignore[arg-type]

        measured = interleaved(
            3 if quick else 7,
            {
                "nothing else": lambda: sets(0),
                "beside a scan": lambda: sets(1),
                "beside a stalled scan": lambda: sets(1, _stalled),
            },
        )

        def keys(depth: int) -> float:
            with asking(port, depth) if depth else nullcontext():
                return float(in_process(_keys, port, count))  # type: ignore[arg-type]

        measure(port, Opcode.SET, PIPELINE, 1, 1)
        streams = interleaved(
            3,
            {
                "nothing else": lambda: keys(0),
                "beside 50 connections, one GET at a time": lambda: keys(1),
                f"beside 50 connections, GETs pipelined by {PIPELINE}": lambda: keys(PIPELINE),
            },
        )
    reference = measured["nothing else"]
    for variant, values in measured.items():
        ratio = None if values is reference else median_ratio(values, reference)
        target = "" if ratio is None else "≥ 0.7"
        rows.append(Row("SET", f"pipelined by {PIPELINE}", variant, statistics.median(values), "ops/s", ratio, target))
    reference = streams["nothing else"]
    for variant, values in streams.items():
        ratio = None if values is reference else median_ratio(values, reference)
        rows.append(Row("stat keys", f"{count:,} keys", variant, statistics.median(values), "keys/s", ratio))
    return rows
