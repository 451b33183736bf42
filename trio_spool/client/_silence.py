"""How long a server has been silent although a response was due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from ._calls import Call

# The part of a response that counts as a sign of life, and the part of a request that counts as being sent, in bytes. A server that
# sends a long response byte by byte is given up all the same. Picked, not measured: at the default limit of 30 seconds, a
# connection must carry 2 kB a second.
PART: Final = 64 * 1024


class Silence:
    """Measures how long the server has been silent although a response was due.

    It is not silent while responses arrive, while a long response or request is on its way, or while the client does not read.

    Args:
        calls: The calls whose responses are due, in their order.
        limit: How long the server may be silent, in seconds.
        sent: Returns the number of bytes that were sent.
    """

    def __init__(self, calls: Sequence[Call], limit: float, sent: Callable[[], int]) -> None:
        self._calls = calls
        self._limit = limit
        self._sent = sent
        self._since = trio.current_time()  # when the silence began
        self._part = 0  # the number of bytes that arrived since then
        self._begun = False  # whether a part of the response that is due has arrived
        self._paused = False
        self._changed = trio.Event()  # set when `wait` waits for too long
        self._idle = False  # whether `wait` waits until a response is due

    def begin(self) -> None:
        """Note that a response is due, and none was before, or that the client reads again."""
        self._paused = False
        self._since = trio.current_time()
        self._part, self._begun = 0, False
        if self._idle:  # otherwise it looks again at the end of an earlier limit: to wake it for each request would take longer
            self._changed.set()

    def pause(self) -> None:
        """Note that the client does not read for now, so that it can't know what the server sends."""
        self._paused = True

    def received(self, size: int, *, whole: bool) -> None:
        """Note that bytes have arrived, and whether a response is complete with them."""
        self._part += size
        if whole or not self._begun or self._part >= PART:
            self._since = trio.current_time()
            self._part = 0
        if not whole and not self._begun:
            self._changed.set()  # what the server takes longer for is done: its limit is that of any other response
        self._begun = not whole

    def answered(self, call: Call) -> None:
        """Note that a call has got its last response."""
        if call.timeout is not None:
            self._changed.set()  # the next call may have another limit

    async def wait(self) -> float:
        """Wait until the server has been silent for too long, and return for how many seconds it was."""
        sent = self._sent()
        while True:
            self._changed = trio.Event()
            self._idle = not self._calls or self._paused
            if self._idle:
                await self._changed.wait()
                sent = self._sent()
                continue
            own = self._calls[0].timeout
            limit = self._limit if own is None or self._begun else own
            if trio.current_time() < self._since + limit:
                with trio.move_on_at(self._since + limit):
                    await self._changed.wait()
            elif self._sent() - sent > PART:  # the server was busy receiving
                sent = self._sent()
                self._since = trio.current_time()
            else:
                return limit
