"""Where a sender's bytes go.

An `Outlet` is the send side of one stream. Only outlets name the functions that write to streams, and only the sender's task calls
them: a test of the source checks that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter

from .._errors import SpoolBrokenError


class Outlet(ABC):
    """The send side of one stream, which belongs to one sender.

    Attributes:
        bytes: The number of bytes that the stream accepted.
        batches: The number of writes in which these bytes were sent.
        blocked_seconds: How long `write` waited for the peer to accept more, in seconds.
        stalled: Whether the peer was given up because it took nothing.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.batches = 0
        self.blocked_seconds = 0.0
        self.stalled = False
        self._waiting_since: float | None = None  # while the peer takes nothing of what is being written

    def waiting_seconds(self) -> float:
        """Return for how long the peer has been taking nothing of what is being written; 0 if nothing is."""
        since = self._waiting_since
        return 0.0 if since is None else perf_counter() - since

    def offer(self, data: bytes) -> int:
        """Begin a write: send what the stream accepts without waiting, and return the number of bytes."""
        self.batches += 1
        return 0

    async def write(self, rest: memoryview) -> None:
        """Send all of what `offer` has left.

        Raises:
            SpoolBrokenError: The peer is gone, or takes nothing any more.
        """
        started = self._waiting_since = perf_counter()
        try:
            while rest:
                accepted = await self._write_some(rest)
                self._waiting_since = perf_counter()
                self.bytes += accepted
                rest = rest[accepted:]
        finally:
            self._waiting_since = None
            self.blocked_seconds += perf_counter() - started

    def _stall(self, seconds: float) -> SpoolBrokenError:
        """Note that the peer has taken nothing for so many seconds, and return the error that says so."""
        self.stalled = True
        return SpoolBrokenError(f"the peer accepted no byte for {seconds:g} seconds")

    @abstractmethod
    async def _write_some(self, rest: memoryview) -> int:
        """Wait until the stream accepts some bytes, and return how many.

        Raises:
            SpoolBrokenError: The peer is gone, or has taken nothing for as long as it may.
        """

    @abstractmethod
    def abort(self) -> None:
        """Break the connection off, so that the peer can tell that it did not get everything. A write that waits ends."""

    async def close(self) -> None:  # noqa: B027 - not all have something to close
        """Close the stream after `abort`, without waiting for the peer."""

    def watch(self, left: Callable[[], None]) -> None:  # noqa: B027 - not all can
        """Call a function once if the peer leaves, as soon as that can be seen, even if nothing is being written.

        Called again and again; only the first call counts.
        """


def check_send_timeout(seconds: object) -> float:
    """Check a number of seconds that may be infinite.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not greater than 0.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"send_timeout must be a number of seconds; got {seconds!r}")
    if not seconds > 0:  # nan is not
        raise ValueError(f"send_timeout must be more than 0 seconds, or math.inf for no timeout; got {seconds!r}")
    return seconds
