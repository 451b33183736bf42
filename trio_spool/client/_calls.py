"""Requests that wait for their responses, and answers that consist of several."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..mcbp import Response
from ._errors import ClientError, error_of

if TYPE_CHECKING:
    from ._connection import Connection

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


class Statistics:
    """The names and values of a group of statistics. See `Client.stat`.

    Raises, while it is iterated over:
        NotFoundError: There is no such group.
    """

    def __init__(self, client: Connection, call: Call) -> None:
        self._client = client
        self._call = call

    def __aiter__(self) -> Statistics:
        """Return itself."""
        return self

    async def __anext__(self) -> tuple[bytes, bytes]:
        """Return the next name and value."""
        response = await self._call.expect_success()
        self._client.taken(response)
        if not response.key:
            raise StopAsyncIteration
        return response.key, response.value
