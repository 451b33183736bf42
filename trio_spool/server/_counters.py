"""What a service counts."""

from __future__ import annotations

import time

import attrs
from hdrh.histogram import HdrHistogram

from ..mcbp import LOUD, opcode_name

# Latencies are recorded in microseconds, from 1 to a minute, with two significant digits.
_LONGEST_US = 60_000_000
# Distinct (opcode, latency) pairs kept before they go into the histograms: recording into those costs more.
_PENDING = 4096


@attrs.define
class Counters:
    """Counts since the start, or since ``stat reset``. All written by the event loop's thread."""

    total_connections: int = 0
    rejected_connections: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    cmd_get: int = 0
    get_hits: int = 0
    get_misses: int = 0
    cmd_set: int = 0
    cmd_touch: int = 0
    touch_hits: int = 0
    touch_misses: int = 0
    cmd_flush: int = 0
    delete_hits: int = 0
    delete_misses: int = 0
    incr_hits: int = 0
    incr_misses: int = 0
    decr_hits: int = 0
    decr_misses: int = 0
    cas_hits: int = 0
    cas_misses: int = 0
    cas_badval: int = 0
    auth_cmds: int = 0
    auth_errors: int = 0
    total_items: int = 0
    bad_requests: int = 0
    streams: int = 0
    stream_failures: int = 0

    def reset(self) -> None:
        """Set all to 0."""
        for field in attrs.fields(Counters):
            setattr(self, field.name, 0)


class Timings:
    """A histogram of latencies for each opcode, quiet forms counted with their loud ones."""

    def __init__(self) -> None:
        self._histograms: dict[int, HdrHistogram] = {}
        self._pending: dict[tuple[int, int], int] = {}

    def record(self, opcode: int, seconds: float, count: int) -> None:
        """Record that a command took so long, so many times."""
        key = (opcode, int(seconds * 1e6))
        self._pending[key] = self._pending.get(key, 0) + count
        if len(self._pending) >= _PENDING:
            self._fold()

    def _fold(self) -> None:
        pending, self._pending = self._pending, {}
        for (opcode, microseconds), count in pending.items():
            opcode = LOUD.get(opcode, opcode)
            histogram = self._histograms.get(opcode)
            if histogram is None:
                histogram = self._histograms[opcode] = HdrHistogram(1, _LONGEST_US, 2)
            histogram.record_value(min(max(microseconds, 1), _LONGEST_US), count)

    def reset(self) -> None:
        """Forget everything."""
        self._histograms.clear()
        self._pending.clear()

    def summary(self) -> list[tuple[str, int]]:
        """Return names and values: for each opcode the count, the mean, and percentiles, in microseconds."""
        self._fold()
        rows = []
        for opcode, histogram in sorted(self._histograms.items()):
            name = opcode_name(opcode)
            rows.append((f"{name}_count", histogram.get_total_count()))
            rows.append((f"{name}_mean", round(histogram.get_mean_value())))
            for label, percentile in (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9), ("max", 100)):
                rows.append((f"{name}_{label}", histogram.get_value_at_percentile(percentile)))
        return rows


class Clock:
    """When the service began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def uptime(self) -> int:
        """Return the seconds since then."""
        return int(time.monotonic() - self._began)
