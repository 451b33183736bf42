"""Serve a report that blocking code produces: run ``python report.py``, then ``curl http://127.0.0.1:8000``."""

import logging
import sqlite3
from collections.abc import Iterator

import trio

import trio_spool


def rows() -> Iterator[bytes]:
    """Run a query in a worker thread, and yield its rows."""
    database = sqlite3.connect(":memory:", check_same_thread=False)  # each turn may be on another thread
    try:
        query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT i, i * i FROM n"
        for number, square in database.execute(query):
            yield b"%d,%d\r\n" % (number, square)
    finally:
        database.close()


async def handle(stream: trio.SocketStream) -> None:
    """Answer one request. Only a few rows are in memory at a time, even if the client reads slowly."""
    try:
        async with stream, trio_spool.open_sender(stream) as sender:
            await stream.receive_some()
            await sender.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\n")
            await sender.send_spool(rows())
    except trio.BrokenResourceError:
        pass  # the client left; the query has been stopped
    except sqlite3.Error:
        # The connection has been reset, so that the client can tell the rows that it got from a complete report.
        logging.exception("a report failed")


async def main(port: int = 8000, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled."""
    await trio.serve_tcp(handle, port, host="127.0.0.1", task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
