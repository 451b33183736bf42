"""Commands: GET and SET against Debian's memcached, in one run, with a client that has its requests ready and counts reply bytes."""

from __future__ import annotations

import multiprocessing
import os
import selectors
import socket
import statistics
import tempfile
from multiprocessing.connection import Connection
from time import perf_counter

from peer import memcached, spool_server
from report import Row, interleaved, median_ratio

from trio_spool.mcbp import Opcode, encode_request

VALUE = b"v" * 100
GET_REPLY = 24 + 4 + len(VALUE)
SET_REPLY = 24


def client(pipe: Connection, port: int, opcode: int, depth: int, connections: int, rounds: int) -> None:
    """Send a prepared request on each connection, again and again as the whole reply has come, and time all of it.

    It reports when it begins, and at the end the operations per second.
    """
    request, reply = _prepared(opcode, depth)
    opened = []
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.append(connection)
    for connection in opened:  # to accept them is not measured
        _exchange(connection, request, reply)
    pipe.send(None)
    started = perf_counter()
    if connections == 1:
        for _ in range(rounds):
            _exchange(opened[0], request, reply)
    else:
        exchange_on_many(opened, request, reply, rounds // connections)
    seconds = perf_counter() - started
    for connection in opened:
        connection.close()
    pipe.send((rounds // connections) * connections * depth / seconds)


def exchange_on_many(opened: list[socket.socket], request: bytes, reply: int, rounds: int) -> None:
    """Send a request on each of several connections, and again as soon as so many bytes of reply have come."""
    selector = selectors.DefaultSelector()
    state = {}
    for connection in opened:
        selector.register(connection, selectors.EVENT_READ)
        state[connection] = [reply, rounds]
        connection.sendall(request)
    running = len(opened)
    while running:
        for key, _events in selector.select():
            connection = key.fileobj
            entry = state[connection]
            entry[0] -= len(connection.recv(1 << 20))
            if entry[0] == 0:
                entry[1] -= 1
                if entry[1] == 0:
                    running -= 1
                else:
                    entry[0] = reply
                    connection.sendall(request)


def _exchange(connection: socket.socket, request: bytes, reply: int) -> None:
    """Send a request, and wait for so many bytes of reply."""
    connection.sendall(request)
    missing = reply
    while missing:
        missing -= len(connection.recv(1 << 20))


def _prepared(opcode: int, depth: int) -> tuple[bytes, int]:
    if opcode == Opcode.GET:
        frames = [encode_request(Opcode.GET, key=b"key:%04d" % number) for number in range(depth)]
        return b"".join(frames), depth * GET_REPLY
    frames = [encode_request(Opcode.SET, key=b"key:%04d" % number, value=VALUE, extras=bytes(8)) for number in range(depth)]
    return b"".join(frames), depth * SET_REPLY


def measure(port: int, opcode: int, depth: int, connections: int, rounds: int) -> float:
    """Return the operations per second."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=client, args=(theirs, port, opcode, depth, connections, rounds), daemon=True
    )
    process.start()
    ours.recv()
    rate = float(ours.recv())
    process.join()
    return rate


def run(quick: bool) -> list[Row]:
    """Measure every combination."""
    rows = []
    runs = 3 if quick else 7
    directory = os.path.join(tempfile.mkdtemp(), "data")
    with memcached() as other, spool_server("--engine", "lmdb", "--fsync", "no", directory) as (port, _process):
        ports = {"memcached": other, "trio-spool": port} if other is not None else {"trio-spool": port}
        for target_port in ports.values():
            measure(target_port, Opcode.SET, 100, 1, 1)
        for opcode, name in ((Opcode.GET, "GET"), (Opcode.SET, "SET")):
            for connections in (1, 50):
                for depth in (1, 10, 100):
                    budget = (20_000 if name == "GET" else 5_000) // (4 if quick else 1)
                    rounds = max(100, budget // max(1, depth // 25))
                    measured = interleaved(
                        runs,
                        {variant: lambda p=p: measure(p, opcode, depth, connections, rounds) for variant, p in ports.items()},
                    )
                    case = f"{name}, {connections} connection{'s' if connections > 1 else ''}, pipelined by {depth}"
                    reference = measured.get("memcached")
                    for variant, values in measured.items():
                        ratio = None if reference is None or values is reference else median_ratio(values, reference)
                        target = ""
                        if variant == "trio-spool" and name == "GET":
                            target = {1: "≥ 0.7", 100: "≥ 0.4"}.get(depth, "")
                        rows.append(Row("commands", case, variant, statistics.median(values), "ops/s", ratio, target))
    return rows
