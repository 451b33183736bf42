"""Reads the statistics of a server for ``top``, as long as it shall."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import attrs
import trio

from ..client import (
    AccessError,
    AuthenticationError,
    BusyError,
    CertificateError,
    ClientError,
    ServerError,
    TemporaryFailureError,
    UnreachableError,
)
from ._common import explain_error
from ._errors import CliError
from ._session import Server
from ._top_readings import Reader

_PASSES: Final = (TemporaryFailureError, BusyError)


@attrs.define
class Watcher:
    """Reads the statistics of a server again and again, and connects again if that fails.

    Args:
        server: The server.
        interval: Seconds between two readings.

    Attributes:
        reader: Has what was read.
        asking_since: Since when the server owes an answer; None while it owes none.
    """

    server: Server
    interval: float
    reader: Reader = attrs.field(init=False)
    asking_since: float | None = attrs.field(init=False, default=None)
    _answered: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.reader = Reader(self.server)

    async def read_twice(self) -> Reader:
        """Read, wait for an interval, and read once more."""
        async with self.server.open() as client:
            await self.reader.begin(client)
            await self.reader.read(client)
            await trio.sleep(self.interval)
            await self.reader.read(client, everything=True)
        return self.reader

    async def run(self, tell: Callable[[CliError | None], Awaitable[None]]) -> NoReturn:
        """Read for ever.

        Args:
            tell: Is called after each reading, with None, and after each failure, with the error.

        Raises:
            CliError: It makes no sense to try again.
        """
        while True:
            try:
                self.asking_since = trio.current_time()
                await self._read_on(tell)
            except (ClientError, trio.TooSlowError) as exc:
                failure = explain_error(exc, self.server)
                if self._is_final(exc):
                    raise failure from None
                await tell(failure)
            await trio.sleep(self.interval)

    async def _read_on(self, tell: Callable[[CliError | None], Awaitable[None]]) -> NoReturn:
        async with self.server.open() as client:
            await self.reader.begin(client)
            while True:
                began = self.asking_since = trio.current_time()
                await self.reader.read(client)
                self.asking_since = None
                self._answered = True
                await tell(None)
                await trio.sleep_until(max(began + self.interval, trio.current_time()))

    def _is_final(self, error: Exception) -> bool:
        """Whether trying again would not help: the login is wrong, or nobody has ever been at that address."""
        if isinstance(error, (AuthenticationError, AccessError, CertificateError)):
            return True
        if isinstance(error, ServerError):
            return not isinstance(error, _PASSES)
        return isinstance(error, UnreachableError) and not self._answered
