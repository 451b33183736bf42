"""Calls: requests that wait for their responses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from ..mcbp import Response
from ._errors import ClientError, error_of

Last = Callable[[Response], bool]


class Call:
    """A request that waits for its response, or for several responses.

    Args:
        opcode: The opcode of the request and its responses.
        opaque: The opaque of the request and its responses.
        last: Returns whether a response is the last one; None if there is only one. An error is always the last one.
        held: Whether responses that are not taken yet count against the look-ahead of the connection.
        max_size: The maximum number of bytes of all responses together; None for no maximum.
        timeout: How long the server may be silent before it answers, in seconds; None for the limit of the connection.

    Attributes:
        size: The number of bytes of the responses that have arrived.
        responses: The responses that have arrived and were not taken.
        arrived: Set when a response arrives, or the connection is lost.
        lost: The error to raise once no response is left, if the connection is lost.
        abandoned: Whether to drop the responses that are still to come.
    """

    def __init__(
        self,
        opcode: int,
        opaque: int,
        last: Last | None = None,
        *,
        held: bool = False,
        max_size: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.opcode = opcode
        self.opaque = opaque
        self.last = last
        self.held = held
        self.max_size = max_size
        self.timeout = timeout
        self.size = 0
        self.responses: deque[Response] = deque()
        self.arrived = trio.Event()
        self.lost: ClientError | None = None
        self.abandoned = False

    async def next_response(self) -> Response:
        """Wait for the next response and take it."""
        while not self.responses:
            if self.lost is not None:
                raise self.lost
            self.arrived = trio.Event()
            await self.arrived.wait()
        return self.responses.popleft()

    async def expect_success(self) -> Response:
        """Wait for the next response and take it. If it reports an error, raise that."""
        response = await self.next_response()
        if response.status:
            raise error_of(response)
        return response
