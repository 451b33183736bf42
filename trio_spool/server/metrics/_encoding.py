"""The samples as text, in the formats of Prometheus and OpenMetrics: by prometheus-client, without its registry and its server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Final

from prometheus_client import PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from ._samples import Samples, Spread
from ._table import EXPOSED, PREFIX, Type

# Seconds for which encoding rests after each metric, so that the event loop gets the interpreter: encoding is Python alone.
_REST: Final = 50e-6
_END: Final = b"# EOF\n"


class Format(Enum):
    """The formats, with their content types."""

    TEXT = CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class _Families:
    """What prometheus-client's functions take: something with families in it."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        """Return the families."""
        return self._families


def negotiate(accept: str) -> Format:
    """Return the format that an Accept header prefers: OpenMetrics 1.0 if it does, and else text, whatever it says."""
    weights = {Format.TEXT: 0.0, Format.OPENMETRICS: 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        values = dict(each.partition("=")[::2] for each in parameters)
        wanted = Format.OPENMETRICS if kind == "application/openmetrics-text" else Format.TEXT
        if wanted is Format.OPENMETRICS and values.get("version", "1.0.0") != "1.0.0":
            continue
        weights[wanted] = max(weights[wanted], _weight(values.get("q", "1")))
    return Format.OPENMETRICS if weights[Format.OPENMETRICS] > weights[Format.TEXT] else Format.TEXT


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def encode_in_thread(samples: Samples, wanted: Format, rest: Callable[[float], object] = time.sleep) -> bytes:
    """Return the samples, and what the library knows of the process, as text.

    Args:
        samples: The samples.
        wanted: The format.
        rest: Waits for some seconds.
    """
    encode = generate_latest if wanted is Format.TEXT else openmetrics.generate_latest
    pieces = []
    for family in _families(samples):
        pieces.append(encode(_Families([family])).removesuffix(_END))
        rest(_REST)
    return b"".join(pieces) + (_END if wanted is Format.OPENMETRICS else b"")


def _families(samples: Samples) -> Iterator[Family]:
    for metrics in EXPOSED.values():
        for metric in metrics:
            if found := samples[metric.name]:
                family = _MAKERS[metric.type](PREFIX + metric.name, metric.help, labels=metric.labels)
                for labels, value in found:
                    _add(family, labels, value)
                yield family
    yield from PROCESS_COLLECTOR.collect()
    yield from PLATFORM_COLLECTOR.collect()


_MAKERS: Final[dict[Type, Callable[..., Any]]] = {
    Type.COUNTER: CounterMetricFamily,
    Type.GAUGE: GaugeMetricFamily,
    Type.HISTOGRAM: HistogramMetricFamily,
}


def _add(family: Any, labels: tuple[str, ...], value: float | Spread) -> None:
    if isinstance(value, Spread):
        family.add_metric(labels, value.buckets, value.sum)
    else:
        family.add_metric(labels, value)
