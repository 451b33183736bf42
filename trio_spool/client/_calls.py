"""Requests that wait for their responses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from ..mcbp import Response
from ._errors import ClientError, error_of

Last = Callable[[Response], bool]


class Call:
    """A request that is waiting for its response, or for several.

    Args:
        opcode: Of the request, and of the responses.
        last: Tells which response is the last; None if there is one. An error always is.
        held: Whether responses that are not taken keep the connection from being read.
    """

    def __init__(self, opcode: int, last: Last | None = None, *, held: bool = False) -> None:
        self.opcode = opcode
        self.last = last
        self.held = held
        self.responses: deque[Response] = deque()
        self.arrived = trio.Event()
        self.lost: ClientError | None = None
        self.abandoned = False

    async def next_response(self) -> Response:
        """Wait for the next response, and take it."""
        while not self.responses:
            if self.lost is not None:
                raise self.lost
            self.arrived = trio.Event()
            await self.arrived.wait()
        return self.responses.popleft()

    async def expect_success(self) -> Response:
        """Wait for the next response, and take it; raise an error that it reports."""
        response = await self.next_response()
        if response.status:
            raise error_of(response)
        return response
