"""How long commands take, how they end, and how late the event loop is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ..._histogram import Distribution, Histogram

# Seconds between two looks at how late the event loop is. Picked, not measured: a look takes some tens of microseconds.
LAG_INTERVAL: Final = 0.1
# How a command ended whose client had gone, or that was cancelled: it has no status, as there was nobody to tell.
CUT_OFF: Final = "cut_off"


@attrs.frozen
class CommandTimings:
    """How long one command took, and how it ended.

    Attributes:
        command: The name of the command.
        latency: How long it took, in microseconds.
        succeeded: How often it succeeded.
        failed: How often it ended in another way, by the name of the status.
    """

    command: str
    latency: Distribution
    succeeded: int
    failed: dict[str, int]


class Timings:
    """For each command, a histogram of latencies in microseconds, and how often it ended with which status.

    The event loop's thread uses it; failures may also be counted by worker threads. The names come from the tables of protocols, so
    there are some tens of them.
    """

    def __init__(self) -> None:
        self._histograms: dict[str, Histogram] = {}
        self._failed: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()  # of `_failed`
        self._succeeded: dict[str, int] = {}  # as far as somebody has been told

    def record(self, command: str, seconds: float, count: int) -> None:
        """Record that a command took so long, `count` times."""
        histogram = self._histograms.get(command)
        if histogram is None:
            histogram = self._histograms[command] = Histogram()
        histogram.record(int(seconds * 1e6 + 0.5), count)

    def failed(self, command: str, status: str, count: int = 1) -> None:
        """Count that a command, which is recorded as well, ended with another status than success, `count` times."""
        with self._lock:
            statuses = self._failed.setdefault(command, {})
            statuses[status] = statuses.get(status, 0) + count

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._histograms.clear()
            self._failed.clear()
            self._succeeded.clear()

    def read(self) -> list[CommandTimings]:
        """Return what is known of each command, sorted by name. In the event loop's thread."""
        result = []
        with self._lock:
            for command, histogram in sorted(self._histograms.items()):
                latency, failed = histogram.read(), dict(self._failed.get(command, ()))
                # A failure is counted when it is encoded, and its command when it is answered: between the two, there seems to have
                # been a success less. A counter must not go down, so the number that was told before stays until it is reached.
                succeeded = max(latency.count - sum(failed.values()), self._succeeded.get(command, 0))
                self._succeeded[command] = succeeded
                result.append(CommandTimings(command, latency, succeeded, failed))
        return result


class LoopLag:
    """How late the event loop is: how long after its time a task that sleeps gets to run. The event loop's thread uses it.

    Args:
        interval: Seconds between two looks.

    Attributes:
        looks: How often it has been looked at. While the number grows, the event loop turns.
        last: How late it was at the last look, in seconds.
        histogram: How late it was, in microseconds.
    """

    def __init__(self, interval: float = LAG_INTERVAL) -> None:
        self._interval = interval
        self.looks = 0
        self.last = 0.0
        self.histogram = Histogram()

    async def measure(self) -> None:
        """Look again and again, for ever."""
        while True:
            due = trio.current_time() + self._interval
            await trio.sleep_until(due)
            self.note(trio.current_time() - due)

    def note(self, late: float) -> None:
        """Take note of how late the event loop was, in seconds."""
        self.looks += 1
        self.last = max(late, 0.0)
        self.histogram.record(int(self.last * 1e6))

    def reset(self) -> None:
        """Forget everything but the number of looks."""
        self.histogram = Histogram()


class Uptime:
    """How long the service has been running.

    Args:
        clock: The monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def seconds(self) -> int:
        """Return the whole seconds since the service began."""
        return int(self._clock() - self._began)
