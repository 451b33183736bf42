"""Manners: echo round trips on one connection, while pure-Python producers that never block stream on others."""

from __future__ import annotations

import multiprocessing
import socket
import statistics
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from time import perf_counter

import trio
from first_fragment import percentile
from peer import Reader
from report import Row

from trio_spool import open_sender


def endless() -> Iterator[bytes]:
    """Make rows, for ever."""
    number = 0
    while True:
        number += 1
        yield f"{number},user-{number},alice@example.com,{number * 3},some text here,end\r\n".encode()


def _client(pipe: Connection, port: int, count: int) -> None:
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = perf_counter()
            connection.sendall(b"x" * 24)
            connection.recv(24)
            latencies.append(perf_counter() - started)
    pipe.send(latencies)


async def _spooled(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, open_sender(stream) as sender:
        await sender.send_spool(endless())


async def _never_yielding(port: int) -> None:
    """Write to a socket from a thread, as one would without this library."""
    stop = False

    def work() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            buffer = bytearray()
            for row in endless():
                if stop:
                    return
                buffer += row
                if len(buffer) >= 65536:
                    connection.sendall(buffer)
                    buffer.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        try:
            await trio.sleep_forever()
        finally:
            stop = True


def _own_process(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        buffer = bytearray()
        for row in endless():
            buffer += row
            if len(buffer) >= 65536:
                connection.sendall(buffer)
                buffer.clear()


async def _processes(port: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_own_process, args=(port,), daemon=True)
    process.start()
    try:
        await trio.sleep_forever()
    finally:
        process.terminate()


async def _echo(stream: trio.SocketStream) -> None:
    async with stream, open_sender(stream) as sender:
        while data := await stream.receive_some(4096):
            await sender.send(bytes(data))


def measure(produce: Callable[[int], object], producers: int, count: int) -> list[float]:
    """Return the round trips' times, in seconds, beside so many producers."""

    async def main() -> list[float]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        ours, theirs = multiprocessing.Pipe()
        client = multiprocessing.get_context("spawn").Process(target=_client, args=(theirs, port, count), daemon=True)
        readers = [Reader(1) for _ in range(producers)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, _echo, listeners)
            for reader in readers:
                nursery.start_soon(produce, reader.port)
            await trio.sleep(1)
            client.start()
            with trio.fail_after(300):
                while not ours.poll():
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        return list(ours.recv())

    return trio.run(main)


TARGETS = {(2, "p50"): "≤ 0.3 ms", (2, "p99"): "≤ 0.6 ms", (4, "p50"): "≤ 0.6 ms", (4, "p99"): "≤ 1.5 ms"}


def run(quick: bool) -> list[Row]:
    """Measure each way, beside 0, 1, 2 and 4 producers."""
    rows = []
    count = 1000 if quick else 4000
    ways = {"send_spool": _spooled, "processes of their own": _processes, "threads that never yield": _never_yielding}
    for producers in (0, 1, 2, 4):
        for name, produce in ways.items():
            if producers == 0 and name != "send_spool":
                continue
            share = count if name != "threads that never yield" else min(count, 500)
            rounds = [measure(produce, producers, share) for _ in range(1 if quick else 3)]
            for case, fraction in (("p50", 0.5), ("p99", 0.99)):
                value = statistics.median(percentile(latencies, fraction) for latencies in rounds) * 1000
                target = TARGETS.get((producers, case), "") if name == "send_spool" else ""
                rows.append(Row("manners", f"{producers} producers, {case}", name, value, "ms", None, target))
    return rows
