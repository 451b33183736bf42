"""Statistics, as a client iterates over them."""

from __future__ import annotations

from ._calls import Call
from ._connection import Connection


class Statistics:
    """The names and values of a group of statistics: see `Client.stat`.

    Iterating over them raises `NotFoundError` if the server has no such group.
    """

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call

    def __aiter__(self) -> Statistics:
        """Return itself."""
        return self

    async def __anext__(self) -> tuple[bytes, bytes]:
        """Return the next name and value."""
        response = await self._call.expect_success()
        self._connection.taken(response)
        if not response.key:
            raise StopAsyncIteration
        return response.key, response.value
