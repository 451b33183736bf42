"""Couchbase's Python SDK: upsert, get and scan, with one thread and with eight, beside a raw client that has its requests ready."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from commands import measure
from peer import spool_server
from report import Row, interleaved, median_ratio

from trio_spool.mcbp import Opcode

DOCUMENT = {"text": "d" * 190}


def _work(pipe: Connection, port: int, what: str, threads: int, count: int) -> None:
    """Do something so many times in all, in threads that share a connected cluster, and report the rate."""
    from couchbase.auth import PasswordAuthenticator
    from couchbase.cluster import Cluster
    from couchbase.kv_range_scan import PrefixScan
    from couchbase.options import ClusterOptions

    cluster = Cluster(f"couchbase://127.0.0.1:{port}", ClusterOptions(PasswordAuthenticator("bench", "bench")))
    cluster.wait_until_ready(timedelta(seconds=10))
    collection = cluster.bucket("default").default_collection()
    each = count // threads

    def upsert(thread: int) -> None:
        for number in range(each):
            collection.upsert(f"doc:{thread}:{number:05}", DOCUMENT)

    def get(thread: int) -> None:
        for number in range(each):
            collection.get(f"doc:{thread}:{number:05}")

    def scan(thread: int) -> None:
        assert sum(1 for _ in collection.scan(PrefixScan(f"doc:{thread}:"))) >= each

    todo: Callable[[int], None] = {"upsert": upsert, "get": get, "scan": scan}[what]
    workers = [threading.Thread(target=todo, args=(thread,)) for thread in range(threads)]
    started = perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pipe.send(each * threads / (perf_counter() - started))
    cluster.close()


def _in_process(port: int, what: str, threads: int, count: int) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs, port, what, threads, count), daemon=True)
    process.start()
    theirs.close()
    rate = float(ours.recv())
    process.join()
    return rate


def run(quick: bool) -> list[Row]:
    """Measure the SDK and the raw client in turn."""
    runs, count = (3, 4_000) if quick else (7, 16_000)
    rows = []
    with spool_server("--fsync", "no", str(Path(tempfile.mkdtemp()) / "data")) as (port, _):
        for threads in (1, 8):
            for what, opcode in (("upsert", Opcode.SET), ("get", Opcode.GET), ("scan", None)):
                variants: dict[str, Callable[[], float]] = {
                    "Python SDK": lambda what=what, threads=threads: _in_process(port, what, threads, count)
                }
                if opcode is not None:
                    variants["raw client"] = lambda opcode=opcode, threads=threads: measure(port, opcode, 1, threads, count)
                measured = interleaved(runs, variants)
                reference = measured.get("raw client")
                case = f"{what}, {threads} {'thread' if threads == 1 else 'threads'}"
                for variant, values in measured.items():
                    ratio = None if reference is None or values is reference else median_ratio(values, reference)
                    rows.append(Row("sdk", case, variant, statistics.median(values), "documents/s", ratio))
    return rows
