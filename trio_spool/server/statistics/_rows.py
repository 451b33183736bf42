"""Statistics as typed rows.

A protocol shows them as text; another reader (an exporter of metrics, for example) gets the kind and the unit of each as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from ..._histogram import Distribution

_PERCENTILES: Final = (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9), ("max", 100))


class Kind(Enum):
    """How a value behaves over time."""

    INFO = "info"  # a text, or a number that is a name
    COUNTER = "counter"  # only grows, until a restart or, for some, ``stat reset``
    GAUGE = "gauge"  # goes up and down


class Row(NamedTuple):
    """One statistic.

    Attributes:
        name: The name, unique within its group.
        value: A text, a number, a bool, or a number as the text in which it has always been shown.
        kind: How the value behaves over time.
        unit: ``bytes``, ``seconds``, ``microseconds``, or empty for a count or a text.
    """

    name: str
    value: object
    kind: Kind = Kind.INFO
    unit: str = ""


class RawRow(NamedTuple):
    """One of a million statistics: a name and a text, already encoded, since naming the fields of each costs too much."""

    name: bytes
    value: bytes


def counter(name: str, value: object, unit: str = "") -> Row:
    """Make the row of something that is counted."""
    return Row(name, value, Kind.COUNTER, unit)


def gauge(name: str, value: object, unit: str = "") -> Row:
    """Make the row of something that is measured."""
    return Row(name, value, Kind.GAUGE, unit)


def summary(name: str, distribution: Distribution, unit: str = "") -> Iterator[Row]:
    """Make the rows of how something varies: how often, the mean, percentiles, and the maximum. What never was has no rows."""
    if distribution.count:
        yield counter(f"{name}_count", distribution.count)
        yield gauge(f"{name}_mean", round(distribution.mean), unit)
        for label, percent in _PERCENTILES:
            yield gauge(f"{name}_{label}", distribution.percentile(percent), unit)


def ranges(name: str, distribution: Distribution, unit: str = "") -> Iterator[Row]:
    """Make the rows of how something varies, as Couchbase's tools read them: how often it was in each range, and the mean."""
    for lowest, above, count in distribution.ranges():
        yield counter(f"{name}_{lowest},{above}", count)
    yield gauge(f"{name}_mean", round(distribution.mean), unit)


def as_text(rows: Iterable[Row | RawRow]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of rows as text, in UTF-8; a bool is ``yes`` or ``no``."""
    for row in rows:
        if type(row) is RawRow:
            yield row
        else:
            value = row[1]
            if isinstance(value, bool):
                value = "yes" if value else "no"
            yield str(row[0]).encode(), str(value).encode()
