"""Reading requests: what `trio.SocketStream.receive_some` does, with one pass of the scheduler less."""

from __future__ import annotations

import os
import sys

import trio


async def receive_some(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """Wait until the peer has sent something, and return it: at most `size` bytes, none at the end of the stream.

    A plain socket is waited for before it is read, since a server has most often answered all that had arrived; and it is read in
    the pass of the scheduler in which it turned readable. If cancelled, nothing has been read.

    Raises:
        trio.BrokenResourceError: The connection is broken.
        trio.ClosedResourceError: The stream was closed, before or in the meantime.
    """
    if sys.platform != "win32" and isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        await trio.lowlevel.wait_readable(stream.socket)
        try:
            return os.read(stream.socket.fileno(), size)
        except BlockingIOError:
            pass  # nothing, after all
        except OSError as exc:
            raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc
    return bytes(await stream.receive_some(size))
