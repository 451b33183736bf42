"""How long commands take."""

from __future__ import annotations

import time
from collections.abc import Callable

from hdrh.histogram import HdrHistogram

# Latencies are recorded in microseconds, from 1 to a minute, with two significant digits: 1 % is finer than these latencies repeat.
_MAX_US = 60_000_000
# Distinct (name, latency) pairs that are kept before they go into the histograms. Recording into a histogram costs a few µs, a
# dictionary a tenth of that. The number was picked, not measured; as tuples and ints, so many pairs take about a megabyte.
_MAX_PENDING = 4096


class Timings:
    """A histogram of latencies for each command. The event loop's thread uses it."""

    def __init__(self) -> None:
        self._histograms: dict[str, HdrHistogram] = {}
        self._pending: dict[tuple[str, int], int] = {}

    def record(self, name: str, seconds: float, count: int) -> None:
        """Record that a command took so long, `count` times."""
        key = (name, int(seconds * 1e6))
        self._pending[key] = self._pending.get(key, 0) + count
        if len(self._pending) >= _MAX_PENDING:
            self._fold()

    def _fold(self) -> None:
        pending, self._pending = self._pending, {}
        for (name, microseconds), count in pending.items():
            histogram = self._histograms.get(name)
            if histogram is None:
                histogram = self._histograms[name] = HdrHistogram(1, _MAX_US, 2)
            histogram.record_value(min(max(microseconds, 1), _MAX_US), count)

    def reset(self) -> None:
        """Forget everything."""
        self._histograms.clear()
        self._pending.clear()

    def histograms(self) -> list[tuple[str, HdrHistogram]]:
        """Return the name and the histogram of each command, in microseconds, sorted by name."""
        self._fold()
        return sorted(self._histograms.items())


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
