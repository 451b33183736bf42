"""Telling a client that it may not stay, in its own protocol, before its connection is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from .._core import let_go, open_sender
from ._farewell import see_off

# Clients that are told at one time. Further ones are closed without a word: whoever connects faster than that is not listening.
# Picked, not measured.
MAX_TOLD: Final = 64
# Bytes that are read of what a client sends before it is told. Picked, not measured.
_FIRST: Final = 4096

# Makes the answer to the first request from what has arrived of it. None: too little to know. Nothing: no protocol begins so.
RefuseFirst = Callable[[bytes, str], "bytes | None"]


async def turn_away(stream: trio.abc.Stream, refuse: RefuseFirst, why: str, seconds: float) -> None:
    """Answer a client's first request with an error. The caller closes the connection.

    Args:
        stream: The connection.
        refuse: Makes the answer.
        why: What the client is told.
        seconds: How long the client may take to ask, and as long again to read the answer and leave.
    """
    answer = b""
    try:
        with trio.move_on_after(seconds):
            if answer := await _answer(stream, refuse, why):
                async with open_sender(stream, send_timeout=seconds, watch_peer=False) as sender:
                    await sender.send(answer)
        if answer:
            await see_off(stream, seconds)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        let_go(exc)  # the client has gone


async def _answer(stream: trio.abc.Stream, refuse: RefuseFirst, why: str) -> bytes:
    data = b""
    while len(data) < _FIRST and (more := await stream.receive_some(_FIRST)):
        data += more
        if (answer := refuse(data, why)) is not None:
            return answer
    return b""
