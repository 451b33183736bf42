"""Latencies of the commands of an interval, from how often each took how long at its two ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import Any, Final

_RANGE: Final = re.compile(r"(?P<command>.+)_(?P<low>\d{1,20}),(?P<above>\d{1,20})", re.ASCII | re.DOTALL)
_COUNT: Final = re.compile(r"\d{1,20}", re.ASCII)
_Ranges = dict[tuple[int, int], int]


def latencies(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return, for each command that ran meanwhile, how often, and its mean and percentiles in microseconds.

    Args:
        before: The group ``timings histogram`` at the first reading.
        now: The same at the second.
    """
    earlier = _ranges(before)
    result = {}
    for command, ranges in _ranges(now).items():
        grown = _grown(earlier.get(command, {}), ranges)
        if grown:
            result[command] = _figures(sorted(grown.items()))
    return result


def _ranges(values: Mapping[str, str]) -> dict[str, _Ranges]:
    found: dict[str, _Ranges] = {}
    for name, value in values.items():
        match = _RANGE.fullmatch(name)
        if match is not None and _COUNT.fullmatch(value):
            found.setdefault(match["command"], {})[int(match["low"]), int(match["above"])] = int(value)
    return found


def _grown(before: _Ranges, now: _Ranges) -> _Ranges:
    """Return by how much each range has grown. If any has shrunk, they were all reset meanwhile."""
    if any(now.get(limits, 0) < count for limits, count in before.items()):
        before = {}
    return {limits: more for limits, count in now.items() if (more := count - before.get(limits, 0)) > 0}


def _figures(ranges: list[tuple[tuple[int, int], int]]) -> dict[str, Any]:
    count = sum(times for _, times in ranges)
    total = sum(_middle(limits) * times for limits, times in ranges)
    return {
        "count": count,
        "mean": round(total / count),
        "p50": _percentile(ranges, count, 50),
        "p99": _percentile(ranges, count, 99),
    }


def _percentile(ranges: list[tuple[tuple[int, int], int]], count: int, percent: int) -> int:
    wanted = max(1, ceil(count * percent / 100))
    for limits, times in ranges:
        wanted -= times
        if wanted <= 0:
            return _middle(limits)
    return _middle(ranges[-1][0])


def _middle(limits: tuple[int, int]) -> int:
    return (limits[0] + limits[1] - 1) // 2 if limits[1] > limits[0] else limits[0]
