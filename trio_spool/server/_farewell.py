"""Closing a connection so that the client gets to read the last answer.

A system that closes a connection on which something unread has arrived resets it, and the client's system then throws away what it
has not handed over yet: the answer. So what the client goes on to send is read and dropped for a while.
"""

from __future__ import annotations

from typing import Final

import trio

from .._core import let_go

# Bytes that are read of what a client still sends, before it is cut off. Picked, not measured.
_REST: Final = 1024 * 1024


async def see_off(stream: trio.abc.Stream, seconds: float) -> None:
    """Wait until a client that was told something closes the connection, so that it gets to read it.

    Args:
        stream: The connection. Everything has been written to it.
        seconds: How long to wait.
    """
    with trio.move_on_after(seconds):
        try:
            if isinstance(stream, trio.SocketStream):
                await stream.send_eof()
            left = _REST
            while left > 0 and (data := await stream.receive_some(65536)):
                left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            let_go(exc)
