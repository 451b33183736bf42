"""Lines over a TCP connection, on Trio: ``python raw_trio.py``, then ``nc 127.0.0.1 8000``."""

from collections.abc import Iterator

import trio

import trio_spool


def rows(count: int) -> Iterator[bytes]:
    """Give rows, in worker threads."""
    yield from (b"%d,%d\r\n" % (number, number * number) for number in range(count))


async def handle(stream: trio.SocketStream) -> None:
    """Answer each line, a number, with so many rows. The sender alone writes to the connection."""
    async with stream, trio_spool.open_sender(stream) as sender:
        async for line in stream:  # a client of these waits for the answer before it sends the next line
            await sender.send_spool(rows(int(line)))
            await sender.send(b"done\r\n")


if __name__ == "__main__":
    trio.run(trio.serve_tcp, handle, 8000)
