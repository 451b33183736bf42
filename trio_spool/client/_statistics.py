"""Statistics, as a client iterates over them."""

from __future__ import annotations

from ._calls import Call
from ._connection import Connection
from ._errors import error_of


class Statistics:
    """The names and values of a group of statistics: see `Client.stat`.

    Iterating over them raises `NotFoundError` if the server has no such group.
    """

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._ended = False

    def __aiter__(self) -> Statistics:
        """Return itself."""
        return self

    async def __anext__(self) -> tuple[bytes, bytes]:
        """Return the next name and value."""
        if self._ended:
            raise StopAsyncIteration
        response = await self._call.next_response()
        self._connection.taken(response)
        self._ended = bool(response.status) or not response.key
        if response.status:
            raise error_of(response)
        if self._ended:
            raise StopAsyncIteration
        return response.key, response.value
