"""The documentation's examples are real files, and work."""

from __future__ import annotations

import io
import runpy
import sqlite3
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.service import start_service
from trio_spool import SpoolLimits, open_spool
from trio_spool.client import open_client

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


async def test_report(nursery) -> None:
    main = runpy.run_path(str(EXAMPLES / "report.py"))["main"]
    listeners = await nursery.start(main, 0)
    async with await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        received = b"".join([data async for data in stream])
    assert received.startswith(b"HTTP/1.0 200 OK")
    assert received.endswith(b"\r\n100000,10000000000\r\n")


async def test_report_to_clients_that_leave(nursery) -> None:
    main = runpy.run_path(str(EXAMPLES / "report.py"))["main"]
    listeners = await nursery.start(main, 0)
    address = ("127.0.0.1", listeners[0].socket.getsockname()[1])
    for _ in range(2):  # the second is served although the first has left
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            assert (await stream.receive_some(10)).startswith(b"HTTP/1.0")


async def test_report_that_fails(nursery, caplog) -> None:
    """Its client can tell the part that it got from a complete report."""
    main = runpy.run_path(str(EXAMPLES / "report.py"))["main"]

    def rows():
        yield b"1,1\r\n"
        raise sqlite3.OperationalError("disk I/O error")

    main.__globals__["handle"].__globals__["rows"] = rows
    listeners = await nursery.start(main, 0)
    for _ in range(2):  # the server goes on
        async with await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError) as raised:
                while await stream.receive_some():
                    pass
            assert isinstance(raised.value.__cause__, ConnectionResetError)
    assert "disk I/O error" in caplog.text


async def test_report_to_a_slow_client() -> None:
    """Its rows come in many turns, each on whatever thread is free."""
    rows = runpy.run_path(str(EXAMPLES / "report.py"))["rows"]
    spool = open_spool(rows(), limits=SpoolLimits(window=200_000, batch=100_000))
    received = 0
    ended = threading.Event()
    async with spool as batches, trio.open_nursery() as nursery:
        try:
            async for batch in batches:
                received += len(batch)
                while spool.statistics().workers:
                    await trio.sleep(0.001)
                nursery.start_soon(trio.to_thread.run_sync, ended.wait)  # keeps the thread that it had from being the next one
                await wait_all_tasks_blocked()
        finally:
            ended.set()
    assert spool.statistics().turns > 5
    assert received == sum(len(f"{number},{number * number}\r\n") for number in range(1, 100_001))


def test_archive(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    command = [sys.executable, str(EXAMPLES / "archive.py"), str(tmp_path)]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.extractfile(f"{tmp_path.name}/file").read() == b"content"


def test_embedded() -> None:
    output = subprocess.run([sys.executable, str(EXAMPLES / "embedded.py")], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert output.startswith("hello\ngreeting size=5 expiry=0 cas=")


async def test_scan(nursery) -> None:
    port = (await start_service(nursery)).port
    async with open_client("127.0.0.1", port) as client:
        for key, value in ((b"user:1", b"four"), (b"user:2", b"seven.."), (b"vase:1", b"x")):
            await client.set(key, value)
    main = runpy.run_path(str(EXAMPLES / "scan.py"))["main"]
    assert await main(port) == 11
