"""What all connections hold together has a bound: `Settings.max_buffered`.

A connection holds requests that have arrived in part, replies that are queued or wait for room in the queue, and what its long
commands have spooled. Each of these is bounded for one connection; together, thousands of connections could hold more memory than
the machine has.

Counting what they hold takes a look at every connection. So it is only estimated: what a connection adds is added to the estimate,
and nothing is subtracted, until the estimate says that there might be no room for one more turn. A *turn* is what a connection does
before others get to run: the requests of one read, up to an exchange's size and one more reply. Then everybody is looked at, and
the estimate is right again. Near the bound that happens often, far from it hardly ever.

When it is tight, each request waits until there is room for what it may add. So quick commands never cross the bound, and nothing
of theirs has to be thrown away. A part before the bound is kept for small requests, which need not wait behind large ones. If there
is no room, connections are closed to make some: those that hold most first, but before all others those whose clients have
neither sent nor taken anything for `PATIENCE` seconds. A client that reads 20 MB is making room by itself. Only if that has not
made room for `STARVED` seconds, or if the bound has been crossed by what worker threads have spooled, everybody is a candidate.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from ..._incidents import Incidents
from ..settings import KIB, LimitHits, Settings
from ._causes import Cause
from ._connections import Connections, OpenConnection
from ._counters import Counters

# Seconds after which a client that neither sends nor takes anything is taken for one that has stopped. Picked, not measured: it is
# many round trips in a local network, and one across an ocean.
PATIENCE: Final = 0.25
# Seconds without room after which those that still make progress are closed as well. Picked, not measured.
STARVED: Final = 2.0
# Seconds between two looks while a turn waits for room. A look takes some 4 µs for a connection. Picked, not measured.
INTERVAL: Final = 0.02
# That pause is at least so many times as long as a look, so that thousands of connections do not take the event loop. Picked.
LOOKING: Final = 10
# The part of the bound that large requests leave to small ones: one of so many. Picked, not measured.
KEPT: Final = 16
# Bytes that a small request adds at most. Picked, not measured.
SMALL: Final = 64 * KIB
CLOSED: Final = "connections are closed: all together hold too much"


class Buffers:
    """Counts what the connections hold, and closes some when it is too much. The event loop's thread uses it.

    Args:
        settings: Returns the settings as they are now.
        connections: The open connections.
        counters: What is counted.
        incidents: The log.
        clock: The monotonic clock.

    Attributes:
        tight: Whether there may be no room for another turn: then `wait_room` before each request.
        high_water: The most that the connections were seen to hold.
        limits: How often each limit was reached.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        connections: Connections,
        counters: Counters,
        incidents: Incidents,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._counters = counters
        self._incidents = incidents
        self._clock = clock
        self._token = trio.lowlevel.current_trio_token()
        self._estimate = 0
        self._turns = trio.Lock()  # who waits for room, in order
        # What closed connections held, by their numbers, until they have ended: it is freed only then.
        self._ending: dict[int, int] = {}
        self._ended = trio.Event()
        # How far each client has got, and when it was seen to have got there.
        self._progress: dict[int, tuple[int | None, float]] = {}
        self._waiting: Counter[int] = Counter()  # who waits for room, by connection: their clients have to wait for us
        self._crowded_since: float | None = None
        self.tight = False
        self.high_water = 0
        self.limits = LimitHits()
        self.change()

    def change(self) -> None:
        """Take note that the settings have changed."""
        settings = self._settings()
        self._bound = settings.max_buffered
        self._room = settings.max_buffered - settings.turn_bytes - settings.max_buffered // KEPT
        self.tight = self._estimate > self._room

    def add(self, size: int) -> None:
        """Count bytes that a connection holds from now on."""
        self._estimate += size
        if self._estimate > self._room:
            self.tight = True
            if self._estimate > self._bound:  # by what has arrived: that is read before anybody knows what it is
                self._look_soon()

    def add_in_thread(self, size: int) -> None:
        """Count bytes that a worker has spooled. Another thread may count at the same time: the next look puts that right."""
        self._estimate += size
        if self._estimate > self._bound:
            self._look_soon()

    def _look_soon(self) -> None:
        self._token.run_sync_soon(self.look, idempotent=True)

    def held(self) -> int:
        """Return what all connections hold, counted now."""
        ending = self._ending
        return sum(each.held() for each in self._connections if each.number not in ending) + sum(ending.values())

    async def wait_room(self, connection: int, size: int) -> None:
        """Wait until there is room for a request of a connection.

        Args:
            connection: The number of the connection.
            size: What the request may add, in bytes.

        Raises:
            trio.BrokenResourceError: The connection had to be closed.
        """
        if self.has_room(size):
            return
        self._waiting[connection] += 1
        try:
            async with self._turns:
                while not self.has_room(size) or connection in self._ending:
                    began = self._clock()
                    self.look()
                    if connection in self._ending:
                        raise trio.BrokenResourceError("the connection was closed, since all together held too much")
                    if self.has_room(size):
                        return
                    with trio.move_on_after(max(INTERVAL, LOOKING * (self._clock() - began))):
                        await self._ended.wait()
        finally:
            self._waiting[connection] -= 1
            if not self._waiting[connection]:
                del self._waiting[connection]

    def has_room(self, size: int) -> bool:
        """Whether a request may add so many bytes, as far as is known without a look at everybody."""
        return self._estimate <= self._room or (size <= SMALL and self._estimate + size <= self._bound)

    def forget(self, connection: OpenConnection) -> None:
        """Take note that a connection has ended."""
        self._progress.pop(connection.number, None)
        if self._ending.pop(connection.number, None) is not None:
            self._ended.set()
            self._ended = trio.Event()

    def look_if_much(self) -> None:
        """Look if there may be much. Call it every second or so: who has stopped is known only after two looks."""
        if self._estimate > self._bound // 2:
            self.look()

    def look(self) -> None:
        """Count what the connections hold, and close some of them if that is too much."""
        now = self._clock()
        holding: list[tuple[bool, int, OpenConnection]] = []
        total = sum(self._ending.values())
        for connection in self._connections:
            if (held := connection.held()) and connection.number not in self._ending:
                holding.append((self._has_stopped(connection, now), held, connection))
                total += held
        self.high_water = max(self.high_water, total)
        self._estimate = total
        self.tight = total > self._room
        if not self.tight:
            self._crowded_since = None
        else:
            if self._crowded_since is None:
                self._crowded_since = now
            self._make_room(total, holding, everybody=total > self._bound or now - self._crowded_since >= STARVED)

    def _has_stopped(self, connection: OpenConnection, now: float) -> bool:
        """Whether the client has neither sent nor taken anything for a while."""
        progress = connection.progress()
        before = self._progress.get(connection.number)
        if progress is None or before is None or before[0] != progress or connection.number in self._waiting:
            self._progress[connection.number] = progress, now
            return False
        return now - before[1] >= PATIENCE

    def _make_room(self, total: int, holding: list[tuple[bool, int, OpenConnection]], *, everybody: bool) -> None:
        """Close as many connections as have to go, apart from those that are about to end anyway."""
        left = total - sum(self._ending.values())
        holding.sort(key=lambda each: each[:2], reverse=True)
        for stopped, held, connection in holding:
            if left <= self._room or not (stopped or everybody):
                break
            left -= held
            self._ending[connection.number] = held
            self._counters.buffer_kicks += 1
            self.limits.hit("max-buffered")
            peer, user = connection.who()
            self._incidents.report(
                CLOSED, connection=connection.number, peer=peer, user=user, held=held, together=total, limit=self._bound,
                hint="raise --max-buffered",
            )  # fmt: skip
            connection.break_off(Cause.MAX_BUFFERED)
            if everybody:
                self._crowded_since = self._clock()
