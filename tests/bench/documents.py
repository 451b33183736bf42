"""Large JSON documents: what an edit takes, beside parsing the document, and what other clients wait for meanwhile."""

from __future__ import annotations

import json
import signal
import socket
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from first_fragment import percentile
from peer import spool_server
from report import Row

from trio_spool.engine import _json_edits as edits
from trio_spool.engine._json_document import Document
from trio_spool.engine._json_grammar import compile_all_in_thread
from trio_spool.mcbp import HEADER, Opcode, encode_request

MIB = 1 << 20


def _filled(item: bytes, size: int) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def _documents(size: int) -> dict[str, bytes]:
    return {
        "[1,1,…]": _filled(b"1", size),
        "strings": _filled(b'"hello world"', size),
        "rows": _filled(b'{"id":123,"name":"abc def","tags":["a","b"],"x":{"y":1.5}}', size),
        "members": b"{%b}" % b",".join(b'"key%d":%d' % (number, number) for number in range(size // 16)),
        "keys with escapes": b"{%b}" % b",".join(b'"\\u043a%d":1' % number for number in range(size // 14)),
        "the key in every value": b"{%b}" % b",".join(b'"m%d":{"new0":1}' % number for number in range(size // 18)),
        "[[[[[]]]]]": _filled(b"[[[[[]]]]]", size),
    }


def _change_last(document: Document) -> None:
    if document.data[:1] == b"[":
        edits.replace(document, b"[-1]", b"2")
    else:
        edits.upsert(document, b"new0", b"2", False)


def _add_sixteen(document: Document) -> None:
    for number in range(16):
        if document.data[:1] == b"[":
            edits.push_last(document, b"", b"1", False)
        else:
            edits.upsert(document, b"new%d" % number, b"2", False)


def _seconds(work: Callable[[], object]) -> float:
    """Return the processor time of this thread, which does not depend on what else the machine does."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _edit_times(size: int, runs: int) -> list[Row]:
    rows = []
    for name, text in _documents(size).items():
        for case, edit in (("one step", _change_last), ("16 steps", _add_sixteen)):

            def work(text: bytes = text, edit: Callable[[Document], None] = edit) -> bytes:
                document = Document(text)
                edit(document)
                return document.content

            pairs = [(_seconds(work), _seconds(lambda text=text: json.loads(text))) for _ in range(runs)]  # type: ignore[misc]
            ratio = statistics.median(edited / parsed for edited, parsed in pairs)
            value = statistics.median(edited for edited, _ in pairs)
            target = "≤ 5" if case == "one step" else ""
            rows.append(
                Row("documents", f"{case}, {size / MIB:.1f} MiB, beside json.loads", name, 1000 * value, "ms", ratio, target)
            )
    return rows


class _Client:
    """A client that sends a request, and waits for the reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, opcode: int, **fields: object) -> int:
        self._socket.sendall(encode_request(opcode, **fields))  # type: ignore[arg-type]
        header = HEADER.unpack(self._receive(HEADER.size))
        self._receive(header[6])
        return int(header[5])

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (received := self._socket.recv(size - len(data))):
                raise ConnectionError("the server has gone")
            data += received
        return data

    def edit(self, *steps: tuple[int, bytes, bytes]) -> int:
        value = b"".join(struct.pack(">BBHL", opcode, 0, len(path), len(new)) + path + new for opcode, path, new in steps)
        return self.call(Opcode.SUBDOC_MULTI_MUTATION, key=b"document", value=value)


def _others(port: int, opcode: int, stop: threading.Event, waits: list[float]) -> None:
    client = _Client(port)
    fields: dict[str, object] = {"key": b"other"}
    if opcode == Opcode.SET:
        fields |= {"value": b"v" * 100, "extras": bytes(8)}
    while not stop.is_set():
        started = perf_counter()
        client.call(opcode, **fields)
        waits.append(perf_counter() - started)
        time.sleep(0.001)


def _beside(port: int, work: Callable[[], object]) -> dict[int, list[float]]:
    """Do some work, and return for how long other clients wait meanwhile for each of their requests, in seconds."""
    stop = threading.Event()
    waits: dict[int, list[float]] = {Opcode.SET: [], Opcode.GET: []}
    threads = [threading.Thread(target=_others, args=(port, opcode, stop, times)) for opcode, times in waits.items()]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    for times in waits.values():
        times.clear()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return waits


def _waits(rows: list[Row], port: int, case: str, work: Callable[[], object]) -> None:
    for opcode, times in _beside(port, work).items():
        name = Opcode(opcode).name
        rows.append(Row("documents", f"{name} of others beside: {case}", "longest wait", 1000 * max(times), "ms", None, "≤ 50 ms"))
        rows.append(Row("documents", f"{name} of others beside: {case}", "p99", 1000 * percentile(times, 0.99), "ms"))


def _other_clients(size: int) -> list[Row]:
    rows: list[Row] = []
    directory = Path(tempfile.mkdtemp()) / "data"
    with spool_server("--fsync", "no", "--drain-timeout", "1", str(directory)) as (port, process):
        client = _Client(port)
        ones, members = _filled(b"1", size), _documents(900 * 1024)["members"]
        time.sleep(1)  # until the patterns are compiled
        _waits(
            rows,
            port,
            f"SET of {size / MIB:.0f} MiB",
            lambda: client.call(Opcode.SET, key=b"document", value=ones, extras=bytes(8)),
        )
        replace = (Opcode.SUBDOC_REPLACE, b"[-1]", b"2")
        _waits(rows, port, f"replace [-1] in {size / MIB:.0f} MiB", lambda: client.edit(replace))
        client.call(Opcode.SET, key=b"document", value=members, extras=bytes(8))
        steps = [(Opcode.SUBDOC_DICT_ADD, b"new%d" % number, b"1") for number in range(16)]
        _waits(rows, port, "16 new members in 0.9 MiB", lambda: client.edit(*steps))
        client.call(Opcode.SET, key=b"document", value=ones, extras=bytes(8))
        thread = threading.Thread(target=lambda: _ignoring_the_end(lambda: client.edit(replace)))
        thread.start()
        time.sleep(0.05)
        started = perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        rows.append(
            Row("documents", "end after SIGTERM, drain timeout 1 s", "while editing", perf_counter() - started, "s", None, "≤ 2 s")
        )
        thread.join()
    return rows


def _ignoring_the_end(work: Callable[[], object]) -> None:
    try:
        work()
    except OSError:
        pass  # the server has gone


def run(quick: bool) -> list[Row]:
    """Measure all of it."""
    compile_all_in_thread()
    return _edit_times(MIB if quick else 4 * MIB, 1 if quick else 3) + _other_clients(4 * MIB if quick else 20 * MIB - 1024)
