"""What happens to items and connections, for those who watch.

Whatever happens is reported in the event loop's thread, and only if somebody watches it: see the attributes of `Events`. A watcher
has a queue with a bound. What finds no room in it is counted instead, and the watcher is told how many it has lost: nobody ever
waits for a watcher.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final
from urllib.parse import quote_from_bytes

import trio

from ._causes import Cause

# Bytes of lines that wait for one watcher. memcached's own number.
QUEUE_SIZE: Final = 256 * 1024
# The maximum number of watchers. memcached's own number.
MAX_WATCHERS: Final = 20


# memcached's words for why a connection has ended; any other cause is an error.
_REASONS: Final = {
    Cause.CLIENT_CLOSED: "normal",
    Cause.QUIT: "normal",
    Cause.IDLE_TIMEOUT: "idle_timeout",
    Cause.DRAIN: "shutdown",
    Cause.DRAIN_TIMEOUT: "shutdown",
}


class EventKind(Enum):
    """What can be watched."""

    FETCHERS = "fetchers"  # reads of items
    MUTATIONS = "mutations"  # stores, and attempts to store
    DELETIONS = "deletions"
    EVICTIONS = "evictions"
    CONNEVENTS = "connevents"  # connections that begin and end


class Watcher:
    """The lines that wait for one watcher."""

    def __init__(self, kinds: frozenset[EventKind]) -> None:
        self.kinds = kinds
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._lost = 0  # since the last line that found room
        self._come = trio.Event()
        self._closed = False

    def put(self, line: bytes) -> None:
        """Add a line, or count it as lost if there is no room."""
        if self._size + len(line) > QUEUE_SIZE:
            self._lost += 1
            return
        if self._lost:
            told = b"skipped=%d\n" % self._lost
            self._lost = 0
            self._lines.append(told)
            self._size += len(told)
        self._lines.append(line)
        self._size += len(line)
        self._come.set()

    async def take(self) -> bytes:
        """Wait for lines, and return all of them; nothing at the end."""
        while not self._lines and not self._closed:
            self._come = trio.Event()
            await self._come.wait()
        data = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        return data

    def close(self) -> None:
        """Let the watcher have no more lines."""
        self._closed = True
        self._come.set()


class Events:
    """Who watches, and what. The event loop's thread uses it.

    Attributes:
        fetchers: Whether somebody watches reads; the others accordingly. Look at it before anything else.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._watchers: list[Watcher] = []
        self._number = 0
        self.fetchers = self.mutations = self.deletions = self.evictions = self.connevents = False

    def __len__(self) -> int:
        """Return the number of watchers."""
        return len(self._watchers)

    def add(self, kinds: frozenset[EventKind]) -> Watcher | None:
        """Let somebody watch; None if there are too many watchers."""
        if len(self._watchers) >= MAX_WATCHERS:
            return None
        watcher = Watcher(kinds)
        self._watchers.append(watcher)
        self._look()
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Let somebody watch no more."""
        self._watchers.remove(watcher)
        self._look()

    def close(self) -> None:
        """Let nobody watch any more: the service ends."""
        for watcher in self._watchers:
            watcher.close()

    def _look(self) -> None:
        wanted = {kind for watcher in self._watchers for kind in watcher.kinds}
        self.fetchers = EventKind.FETCHERS in wanted
        self.mutations = EventKind.MUTATIONS in wanted
        self.deletions = EventKind.DELETIONS in wanted
        self.evictions = EventKind.EVICTIONS in wanted
        self.connevents = EventKind.CONNEVENTS in wanted

    def report(self, kind: EventKind, event: str, key: bytes | None, rest: str) -> None:
        """Report something, as memcached words it.

        Args:
            kind: What it is.
            event: Its type.
            key: The key that it is about, as the client knows it, or None.
            rest: The other fields.
        """
        self._number += 1
        about = "" if key is None else f"key={quote_from_bytes(key, safe='')} "
        line = f"ts={self._clock():.6f} gid={self._number} type={event} {about}{rest}\n".encode()
        for watcher in self._watchers:
            if kind in watcher.kinds:
                watcher.put(line)

    # What memcached has lines for. Slab classes do not exist here: where it names one, the number is 1.

    def fetched(self, key: bytes, connection: int, size: int | None) -> None:
        """Report that an item was read; its size is None if it does not exist."""
        status = "not_found" if size is None else "found"
        clsid = 0 if size is None else 1
        self.report(EventKind.FETCHERS, "item_get", key, f"status={status} clsid={clsid} cfd={connection} size={size or 0}")

    def stored(self, key: bytes, connection: int, command: str, status: str, ttl: int, size: int) -> None:
        """Report that an item was to be stored, and what came of it."""
        rest = f"status={status} cmd={command} ttl={ttl} clsid=1 cfd={connection} size={size}"
        self.report(EventKind.MUTATIONS, "item_store", key, rest)

    def deleted(self, key: bytes, connection: int, command: str) -> None:
        """Report that an item was deleted."""
        self.report(EventKind.DELETIONS, "deleted", key, f"cmd={command} clsid=1 cfd={connection}")

    def evicted(self, key: bytes, ttl: int, since_access: int, size: int, *, fetched: bool) -> None:
        """Report that an item had to make room for others."""
        rest = f"fetch={'yes' if fetched else 'no'} ttl={ttl} la={since_access} clsid=1 size={size}"
        self.report(EventKind.EVICTIONS, "eviction", key, rest)

    def connected(self, connection: int, peer: str) -> None:
        """Report that a client has connected."""
        self.report(EventKind.CONNEVENTS, "conn_new", None, f"{_peer(peer)} cfd={connection}")

    def disconnected(self, connection: int, peer: str, cause: Cause | None) -> None:
        """Report that a connection has ended."""
        reason = "error" if cause is None else _REASONS.get(cause, "error")
        self.report(EventKind.CONNEVENTS, "conn_close", None, f"{_peer(peer)} reason={reason} cfd={connection}")


def _peer(peer: str) -> str:
    host, _, port = peer.rpartition(":")
    if not host or not port.isdecimal():
        return "rip=unix rport=0 transport=local"
    return f"rip={host.strip('[]')} rport={port} transport=tcp"
