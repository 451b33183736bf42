"""Memory: a thousand connections whose peer never reads, and a large stream through one spool."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import trio
from peer import spool_server
from report import Row
from scans import continued, create, fill

from trio_spool import open_spool
from trio_spool.mcbp import Opcode, encode_request

MIB = 1024 * 1024


def _rss(pid: int, kind: str = "VmRSS") -> int:
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(kind):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {kind}")


def _fill(port: int, count: int) -> None:
    extras = bytes(8)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(0, count, 5000):
            frames = [
                encode_request(Opcode.SETQ, key=b"key:%08d" % number, value=b"v" * 10, extras=extras)
                for number in range(start, min(start + 5000, count))
            ]
            connection.sendall(b"".join(frames) + encode_request(Opcode.NOOP))
            answer = b""
            while len(answer) < 24:
                answer += connection.recv(100)


def stalled_connections(connections: int, keys: int) -> list[Row]:
    """Ask for ``stat keys`` on each of many connections, and read nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * connections)), hard))
    bound = 640 * 1024
    with spool_server("--engine", "lmdb", "--fsync", "no", os.path.join(_temporary(), "data")) as (port, process):
        _fill(port, keys)
        idle = _rss(process.pid)
        opened = []
        for _ in range(connections):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(encode_request(Opcode.STAT, key=b"keys"))
            opened.append(connection)
        peak = 0
        statistics = {"workers_busy": "0", "producers_waiting_for_worker": "1"}
        deadline = time.monotonic() + 300
        # This very statistic has a worker.
        while int(statistics["workers_busy"]) > 1 or statistics["producers_waiting_for_worker"] != "0":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the producers have not filled the windows of {connections} connections in 300 seconds")
            time.sleep(0.2)
            statistics = _spool_statistics(port) or statistics
            peak = max(peak, _rss(process.pid))
        for connection in opened:
            connection.close()
    used = peak - idle
    case = f"{connections} stalled connections, {keys:,} keys"
    return [
        Row("memory", case, "peak RSS above idle", used / MIB, "MiB", used / (connections * bound), "≤ the bound"),
        Row("memory", case, "bound for each connection", bound / 1024, "KiB"),
        Row("memory", case, "workers held", max(0.0, float(statistics["workers_busy"]) - 1), "threads", None, "0"),
    ]


def stalled_scans(scans: int, documents: int) -> list[Row]:
    """Begin a scan on each of some connections, and read nothing."""
    path = Path(_temporary()) / "data"
    fill(path, documents)
    with spool_server("--fsync", "no", "--max-scans", str(scans), str(path)) as (port, process):
        idle = _rss(process.pid, "RssAnon")
        opened = []
        for _ in range(scans):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(continued(create(connection)))
            opened.append(connection)
        used = -1
        while used < (used := _rss(process.pid, "RssAnon")):
            time.sleep(2)
        for connection in opened:
            connection.close()
    each = (used - idle) / scans
    case = f"{scans} stalled scans, {documents:,} documents"
    return [Row("memory", case, "of the process, for each", each / 1024, "KiB", each / (640 * 1024), "≤ 640 KiB")]


def _temporary() -> str:
    import tempfile

    return tempfile.mkdtemp()


def _spool_statistics(port: int) -> dict[str, str] | None:
    """Return the statistics of the spools; None if their own producer has waited for too long behind the others."""
    command = [sys.executable, "-m", "trio_spool", "stat", f"127.0.0.1:{port}", "spool", "--json"]
    import json

    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if result.returncode:
        return None
    return {name: str(value) for name, value in json.loads(result.stdout).items()}


def one_large_stream(size: int) -> list[Row]:
    """Push many bytes through one spool, and watch the process."""
    fragment = b"x" * 65536

    async def main() -> tuple[int, int]:
        taken = first = last = 0
        async with open_spool(fragment for _ in range(size // len(fragment))) as batches:
            async for batch in batches:
                taken += len(batch)
                if first == 0 and taken > size // 10:
                    first = _rss(os.getpid())
        last = _rss(os.getpid())
        return first, last

    first, last = trio.run(main)
    case = f"{size / 1e9:g} GB through one spool"
    return [Row("memory", case, "RSS at the end, less that at a tenth", (last - first) / MIB, "MiB", None, "flat")]


def run(quick: bool) -> list[Row]:
    """Measure all."""
    if quick:
        return stalled_connections(100, 50_000) + stalled_scans(50, 100_000) + one_large_stream(1_000_000_000)
    return stalled_connections(1000, 1_000_000) + stalled_scans(50, 100_000) + one_large_stream(10_000_000_000)
