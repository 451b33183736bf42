"""Memory of the server while it is scanned: 10 thousand documents, and 10 million, with a reader that is fast and one that is stalled."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from beside import _stalled
from peer import spool_server
from report import Row
from scans import continued, create, drain_scan, fill

from trio_spool.mcbp import Status

SMALL = b"v" * 20


def _private(process: subprocess.Popen[str]) -> float:
    """Return the megabytes that the process has to itself: not the database's pages, which are the system's cache."""
    with open(f"/proc/{process.pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1000
    raise RuntimeError("this system does not say how much memory a process has")


def _scan(port: int, process: subprocess.Popen[str]) -> tuple[float, float]:
    """Scan everything, and return the highest memory at some moments of it, and the seconds."""
    buffer = bytearray(1 << 20)
    highest = 0.0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        identity = create(connection)
        started = time.perf_counter()
        status = Status.SCAN_MORE
        while status == Status.SCAN_MORE:
            connection.sendall(continued(identity, 500_000))
            status = Status(drain_scan(connection, buffer))
            highest = max(highest, _private(process))
        return highest, time.perf_counter() - started


def run(quick: bool) -> list[Row]:
    """Measure both."""
    rows = []
    for count in (10_000, 200_000 if quick else 10_000_000):
        directory = Path(tempfile.mkdtemp())
        fill(directory / "data", count, SMALL)
        with spool_server("--fsync", "no", str(directory / "data")) as (port, process):
            case = f"{count:,} documents"
            highest, seconds = _scan(port, process)
            rows.append(Row("scan memory", case, "fast reader", highest, "MB"))
            rows.append(Row("scan memory", case, "fast reader", count / seconds, "documents/s"))
            ours, theirs = multiprocessing.Pipe()
            reader = multiprocessing.get_context("spawn").Process(target=_stalled, args=(theirs, port), daemon=True)
            reader.start()
            ours.recv()
            time.sleep(1)
            rows.append(Row("scan memory", case, "stalled reader", _private(process), "MB"))
            reader.kill()
            reader.join()
        shutil.rmtree(directory)
    for variant, unit in (("fast reader", "MB"), ("stalled reader", "MB")):
        small, large = (row for row in rows if row.variant == variant and row.unit == unit)
        rows[rows.index(large)] = Row(large.bench, large.case, variant, large.value, unit, large.value / small.value, "the same")
    return rows
