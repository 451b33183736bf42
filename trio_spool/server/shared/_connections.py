"""The connections that are open, as far as others may know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import trio

from ..._core import SpoolStatistics
from ..data import Bucket
from ._causes import Cause

# Connections that are looked at without a break: about half a millisecond of the event loop.
_AT_ONCE: Final = 32


class RunningJob(Protocol):
    """A long command that is running, as statistics show it."""

    def seconds(self) -> float:
        """Return for how long it has been running."""

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics, in values that JSON can hold."""


class Activity(NamedTuple):
    """What a connection does at the moment.

    Attributes:
        read: How many bytes have arrived so far.
        frame: A number that stands for the request that is arriving, of which a part is there; None if there is no such request, or
            if it is the service that does not read on.
        idle: Whether nothing is arriving, nothing is being answered, and nothing is left to send.
        queued: Whether something waits until the client takes it.
        login_missing: Whether the client must log in first.
    """

    read: int
    frame: int | None
    idle: bool
    queued: bool
    login_missing: bool


class OpenConnection(Protocol):
    """A connection, as everybody but itself sees it.

    Attributes:
        number: Counts connections, from 1.
        cause: Why it ends, or has ended; None while it goes on.
    """

    number: int
    cause: Cause | None

    def describe(self) -> dict[str, object]:
        """Describe it for the statistics, in values that JSON can hold."""

    def jobs(self) -> Sequence[RunningJob]:
        """Return its long commands that are running."""

    def bytes_written(self) -> int:
        """Return how many bytes the kernel has accepted."""

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of its spools."""

    def counted(self) -> tuple[int, SpoolStatistics]:
        """Return both."""

    def spooled(self) -> int:
        """Return how many bytes its spools hold, and what of them is being written."""

    def leave(self, bucket: Bucket, *, stay: bool) -> None:
        """Stop using a bucket that is being deleted: end if it is the selected one, or `stay` without a bucket."""

    def held(self) -> int:
        """Return how many bytes it holds: what has arrived in part, what is queued, and what is spooled."""

    def taken(self) -> int:
        """Return a number that grows by each byte that the client's system takes."""

    def progress(self) -> int | None:
        """Return a number that grows when the client sends or takes something; None if the client has to wait for the service."""

    def activity(self) -> Activity:
        """Return what it does at the moment."""

    def who(self) -> tuple[str, str]:
        """Return the client's address and the user's name, for the log."""

    def end(self, why: str, cause: Cause) -> None:
        """End it. A request that has arrived in part is answered: the client is told why."""

    def break_off(self, cause: Cause) -> None:
        """End it at once, and send nothing more."""

    def stop(self) -> None:
        """End as soon as everything that was asked for is answered and no scan is open. Call it again: others may end a scan."""


class Total(NamedTuple):
    """What all connections have done, and what they hold.

    Attributes:
        written: How many bytes the kernel has accepted, from those that have ended as well.
        spools: The counters of all spools, likewise.
        held: How many bytes those hold that are open.
        spooled: Those of them that are in spools.
        working: How many long commands are running whose producers work.
        waiting: How many others are running: they wait for their client to take something, or for a worker.
    """

    written: int
    spools: SpoolStatistics
    held: int
    spooled: int
    working: int
    waiting: int


class Connections:
    """The open connections, and what those that have ended add to the statistics. The event loop's thread uses it.

    Attributes:
        causes: How many have ended for each cause.
    """

    def __init__(self) -> None:
        self.causes: Counter[Cause] = Counter()
        self._open: dict[int, OpenConnection] = {}
        self._past_bytes = 0
        self._past_spools = SpoolStatistics()
        self._last_number = 0

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def next_number(self) -> int:
        """Return a number that no connection has had."""
        self._last_number += 1
        return self._last_number

    def add(self, connection: OpenConnection) -> None:
        """Count a connection as open."""
        self._open[connection.number] = connection

    def remove(self, connection: OpenConnection) -> None:
        """Count a connection as ended, and keep its counters."""
        if self._open.pop(connection.number, None) is not None:
            self._past_bytes += connection.bytes_written()
            self._past_spools += connection.spool_statistics()
            if connection.cause is not None:
                self.causes[connection.cause] += 1

    async def total(self) -> Total:
        """Add up what connections have done and hold, with a pause after some of them: thousands take long to look at.

        What is counted never becomes less from one call to the next: a connection that ends meanwhile is counted once.
        """
        seen: dict[int, tuple[int, SpoolStatistics]] = {}
        held = spooled = working = waiting = 0
        for number, connection in enumerate(self, 1):
            seen[connection.number] = connection.counted()
            if more := connection.held():
                held += more
                spooled += connection.spooled()
            for job in connection.jobs():
                is_working = job.describe()["state"] == "working"
                working, waiting = working + is_working, waiting + (not is_working)
            if not number % _AT_ONCE:
                await trio.lowlevel.checkpoint()
        written, spools = self._past_bytes, self._past_spools
        for open_number in self._open.keys() & seen.keys():
            more_written, more_spools = seen[open_number]
            written += more_written
            if more_spools.turns:  # most connections never stream anything, and adding takes ten times as long as this
                spools += more_spools
        return Total(written, spools, held, spooled, working, waiting)

    def bytes_written(self) -> int:
        """Return how many bytes the kernel has accepted from all connections, ended ones included."""
        return self._past_bytes + sum(connection.bytes_written() for connection in self)

    def spool_statistics(self) -> SpoolStatistics:
        """Return the counters of all spools together, those of ended connections included."""
        total = self._past_spools
        for connection in self:
            total += connection.spool_statistics()
        return total
