"""Readings of the statistics that ``top`` shows, and the last two of each group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import trio

from ..client import AccessError, BusyError, Client, ClientError, ServerError, TemporaryFailureError
from ..mcbp import Feature
from ._common import printable
from ._errors import LoginError
from ._session import Server

GENERAL: Final = ""
TIMINGS: Final = "timings"
CONNECTIONS: Final = "connections"
TASKS: Final = "tasks"
SCANS: Final = "range-scans"
LOOP: Final = "loop"
SPOOL: Final = "spool"
ENGINE: Final = "engine"
# What to ask for to get each group: the first that the server knows.
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    GENERAL: ("",), TIMINGS: ("timings histogram", "timings"), LOOP: (LOOP,), SPOOL: (SPOOL,), ENGINE: (ENGINE,),
    CONNECTIONS: (CONNECTIONS,), TASKS: (TASKS,), SCANS: (SCANS,),
}  # fmt: skip
# A group is asked for again after ten times as long as its last answer took, so that it takes a tenth of a server's time at most,
# however many connections there are. Picked, not measured.
_SHARE: Final = 10
# The longest group that is looked at, in rows and in bytes. Picked: some 4 kB for each of 4,096 connections.
_MOST_ROWS: Final = 20_000
_MOST_BYTES: Final = 16 * 1024 * 1024
_AGENT: Final = "trio-spool top"


@attrs.frozen
class Rows:
    """A group at one moment.

    Attributes:
        at: When it was asked for, by a clock that only goes forward, in seconds.
        values: The values by their names.
    """

    at: float
    values: Mapping[str, str]


class History:
    """The last two readings of each group.

    Attributes:
        missing: Why a group is not shown, by its name; empty for groups that the server does not have.
        restarted: Whether the last reading is the first one of another process than before.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[Rows | None, Rows]] = {}
        self.missing: dict[str, str] = {}
        self.restarted = False

    def add(self, group: str, rows: Rows) -> None:
        """Add a reading."""
        _, before = self.pair(group)
        if group == GENERAL:
            self.restarted = before is not None and _restarted(before.values, rows.values)
            if self.restarted:
                self._pairs.clear()
                before = None
        self._pairs[group] = before, rows

    def leave_out(self, group: str, reason: str) -> None:
        """Note that a group can't be had."""
        self._pairs.pop(group, None)
        self.missing[group] = reason

    def pair(self, group: str) -> tuple[Rows | None, Rows | None]:
        """Return the last reading but one of a group, and the last; None for what there is not."""
        return self._pairs.get(group, (None, None))


def _restarted(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    if before.get("pid") != now.get("pid"):
        return True
    uptimes = before.get("uptime", ""), now.get("uptime", "")
    return all(text.isdecimal() and len(text) < 20 for text in uptimes) and int(uptimes[1]) < int(uptimes[0])


class Reader:
    """Asks a server for all groups, again and again.

    Args:
        server: The server.

    Attributes:
        history: What it has answered.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.history = History()
        self._due: dict[str, float] = {}

    async def begin(self, client: Client) -> None:
        """Begin a connection: tell the server who this is."""
        try:
            with self._server.answering():
                await client.hello(_AGENT, (Feature.XERROR,))
        except ServerError:
            pass  # memcached has no features

    async def read(self, client: Client, *, everything: bool = False) -> History:
        """Ask for all groups whose turn it is, or for all.

        Raises:
            ClientError: The connection is lost, or even the general statistics are refused.
            LoginError: The user may not read statistics.
            trio.TooSlowError: An answer takes too long.
        """
        for group, names in _ASKED.items():
            if not everything and trio.current_time() < self._due.get(group, 0):
                continue
            began = trio.current_time()
            await self._read_one(client, group, names)
            self._due[group] = began + _SHARE * (trio.current_time() - began)
        return self.history

    async def _read_one(self, client: Client, group: str, names: tuple[str, ...]) -> None:
        reason = ""
        for name in names:
            at = trio.current_time()
            try:
                with self._server.answering():
                    values = await _values(client, name)
            except AccessError as exc:
                if group == GENERAL:
                    raise LoginError(f"{exc}; top needs a user with the role stats") from None
                reason = "the user needs the role stats for every bucket"
            except (TemporaryFailureError, BusyError) as exc:
                reason = str(exc)
            except ServerError:
                if group == GENERAL:
                    raise
            except TooLongError:
                reason = "it is too long"
                break
            else:
                self.history.missing.pop(group, None)
                self.history.add(group, Rows(at, values))
                return
        self.history.leave_out(group, reason)


class TooLongError(ClientError):
    """A group of statistics is longer than anybody could look at."""


async def _values(client: Client, name: str) -> dict[str, str]:
    values: dict[str, str] = {}
    size = 0
    async with client.stat(name) as statistics:
        async for key, value in statistics:
            size += len(key) + len(value)
            if len(values) >= _MOST_ROWS or size > _MOST_BYTES:
                raise TooLongError(name)
            values[printable(key)] = printable(value)
    return values
