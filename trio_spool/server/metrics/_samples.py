"""The samples of all metrics: what the event loop knows is copied there, what an engine knows is asked for in a worker thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import attrs
import trio

from ..._histogram import Distribution
from ...engine import BackgroundWork, EngineError, find_engine
from ..data import Bucket
from ..shared import Cause, CommandTimings, Shared, Stage, Total
from ..statistics import GROUPS, Row, engine_rows, service_rows, spool_rows
from ._table import EXPOSED, Metric, Source

_FACTORS: Final = {"microseconds": 1e-6}
# The limits of the buckets of histograms: 32 µs to 34 s for times, 1 to 16383 for numbers. They are powers of two, which are limits
# of the buckets that are counted, so that nothing is estimated. What is larger is in +Inf.
_TIMES: Final = tuple(2**exponent for exponent in range(5, 26))
_SIZES: Final = tuple(2**exponent for exponent in range(1, 15))


class Spread(NamedTuple):
    """The value of a histogram: pairs of a limit, as text, and how many values are at most that; and the sum."""

    buckets: list[tuple[str, float]]
    sum: float


class Sample(NamedTuple):
    """One value of a metric."""

    labels: tuple[str, ...]
    value: float | Spread


Samples = dict[str, list[Sample]]


@attrs.frozen(kw_only=True)
class Seen:
    """What the event loop knows, copied at one moment, but for the connections, which take several.

    Attributes:
        samples: The samples that are ready.
        buckets: The buckets.
        directory: The data directory; None if there is none.
    """

    samples: Samples
    buckets: list[Bucket]
    directory: Path | None


async def look(shared: Shared) -> Seen:
    """Copy what the event loop knows."""
    total = await shared.connections.total()
    samples: Samples = {metric.name: [] for metrics in EXPOSED.values() for metric in metrics}
    groups = {
        Source.GENERAL: service_rows(shared, total.written),
        Source.SPOOL: spool_rows(shared, total.spools, total.held),
        Source.RANGE_SCANS: _group(shared, Source.RANGE_SCANS),
        Source.SNAPSHOTS: _group(shared, Source.SNAPSHOTS),
    }
    for source, rows in groups.items():
        _take_rows(samples, source, rows, ())
    for name, made in _made(shared, total).items():
        samples[name] += made
    return Seen(samples=samples, buckets=list(shared.buckets), directory=shared.settings.data_dir)


def finish_in_thread(seen: Seen) -> Samples:
    """Add what the engines and the disk know, in a worker thread. A bucket that is being closed or deleted is left out."""
    seen.samples["data_free_bytes"] += _free_in_thread(seen.directory)
    for bucket in seen.buckets:
        added: Samples = {name: [] for name in seen.samples}
        try:
            _take_bucket(added, bucket)
        except EngineError:
            continue
        for name, samples in added.items():
            seen.samples[name] += samples
    return seen.samples


def _group(shared: Shared, source: Source) -> Iterable[Row]:
    # These groups are about no bucket, so it does not matter that the default one may be broken.
    rows = GROUPS[source.value].run(shared, cast(Bucket, shared.buckets.default), "")
    return cast("Iterable[Row]", rows or ())


_BY_ROW: Final[dict[Source, dict[str, list[tuple[Metric, tuple[str, ...]]]]]] = {source: {} for source in Source}
for _metric in (metric for metrics in EXPOSED.values() for metric in metrics):
    for _row, _labels in _metric.rows.items():
        _BY_ROW[_metric.source].setdefault(_row, []).append((_metric, _labels))


def _take_rows(samples: Samples, source: Source, rows: Iterable[Row], place: tuple[str, ...]) -> None:
    wanted = _BY_ROW[source]
    for row in rows:
        for metric, labels in wanted.get(row.name, ()):
            value: Any = row.value  # rows with a kind are numbers
            samples[metric.name].append(Sample((*place, *labels), float(value) * _FACTORS.get(row.unit, 1.0)))


def _made(shared: Shared, total: Total) -> Samples:
    """Make the samples that are no rows, or rows that have names of things in them."""
    timings, incidents, limits = shared.timings.read(), shared.incidents, shared.limits.counts
    engine = find_engine(shared.settings.engine).name
    spools = total.spools
    going_on = {str(incident["event"]) for incident in incidents.going_on()}
    events = sorted(incidents.counts().items())
    by_limit = {name: limits[name] for name in ("max-connections", "max-connections-per-address")}
    rejected = {**by_limit, "draining": shared.counters.rejected_connections - sum(by_limit.values())}
    ended = [(cause, shared.connections.causes[cause]) for cause in Cause]
    return {
        "build_info": [Sample((shared.version, engine, shared.settings.fsync), 1.0)],
        "stage": [Sample((stage.value,), float(stage is shared.life.stage)) for stage in Stage],
        "connections_rejected": [Sample((reason,), float(times)) for reason, times in rejected.items()],
        "connections_ended": [Sample((cause.value,), float(times)) for cause, times in ended],
        "sent_bytes": [Sample((), float(total.written))],
        "limit_hits": [Sample((limit,), float(times)) for limit, times in limits.items()],
        "requests": list(_requests(timings)),
        "request_duration_seconds": [Sample((each.command,), _seconds(each.latency)) for each in timings],
        "long_commands_running": [Sample(("working",), float(total.working)), Sample(("waiting",), float(total.waiting))],
        "spool_fragments": [Sample((), float(spools.fragments))],
        "spool_bytes": [Sample((), float(spools.bytes))],
        "spool_batches": [Sample((), float(spools.batches))],
        "spool_wakeups": [Sample((), float(spools.wakeups))],
        "spool_turns": [Sample((), float(spools.turns))],
        "spool_blocked_seconds": [Sample((), spools.blocked_seconds)],
        "spool_waited_seconds": [Sample((), spools.waited_seconds)],
        "spool_held_seconds": [Sample((), spools.held_seconds)],
        "spool_high_water_bytes": [Sample((), float(spools.high_water))],
        "spool_overdue": [Sample((), float(spools.overdue))],
        "spool_depth_bytes": [Sample((), float(total.spooled))],
        "held_bytes": [Sample((), float(total.held))],
        "loop_lag_seconds": [Sample((), _seconds(shared.lag.histogram.read()))],
        "incidents": [Sample((event,), float(times)) for event, times in events],
        "incidents_going_on": [Sample((event,), float(event in going_on)) for event, _ in events],
        "buckets": [
            Sample(("usable",), float(len(shared.buckets))),
            Sample(("broken",), float(len(shared.buckets.broken))),
        ],
    }


def _free_in_thread(directory: Path | None) -> list[Sample]:
    if directory is None:
        return []
    try:
        status = os.statvfs(directory)
    except OSError:  # it is not there yet, or no longer
        return []
    return [Sample((), float(status.f_bavail * status.f_frsize))]


def _requests(timings: list[CommandTimings]) -> Iterator[Sample]:
    for each in timings:
        yield Sample((each.command, "ok"), float(each.succeeded))
        for status, count in sorted(each.failed.items()):
            yield Sample((each.command, status), float(count))


def _take_bucket(samples: Samples, bucket: Bucket) -> None:
    name, engine = bucket.name, bucket.engine
    _take_rows(samples, Source.ENGINE, engine_rows(bucket), (name,))
    distributions = engine.distributions()
    samples["bucket_value_bytes"].append(Sample((name,), float(sum(space.bytes for space in engine.spaces.values()))))
    samples["bucket_commit_seconds"].append(Sample((name,), _seconds(distributions.commits)))
    samples["bucket_group_operations"].append(Sample((name,), _numbers(distributions.groups)))
    for work in bucket.background():
        for metric, value in _BACKGROUND.items():
            samples[metric].append(Sample((name, work.name), value(work)))


_BACKGROUND: Final[dict[str, Callable[[BackgroundWork], float]]] = {
    "background_runs": lambda work: float(work.runs),
    "background_seconds": lambda work: work.total_seconds,
    "background_failures": lambda work: float(work.failures),
    "background_running": lambda work: float(work.running_seconds is not None),
}


def _seconds(distribution: Distribution) -> Spread:
    return _spread(distribution, _TIMES, 1e-6)


def _numbers(distribution: Distribution) -> Spread:
    return _spread(distribution, _SIZES, 1.0)


def _spread(distribution: Distribution, bounds: tuple[int, ...], factor: float) -> Spread:
    counts = [*distribution.below(bounds), distribution.count]
    # A limit says "at most", and the values are whole numbers: those below a bound. For times, the one between makes no difference.
    limits = [bound - 1 if factor == 1.0 else round(bound * factor, 9) for bound in bounds]
    names = [*(repr(float(limit)) for limit in limits), "+Inf"]
    return Spread([(name, float(count)) for name, count in zip(names, counts, strict=True)], distribution.total * factor)


async def gather(shared: Shared, limiter: trio.CapacityLimiter) -> Samples:
    """Return all samples."""
    seen = await look(shared)
    return await trio.to_thread.run_sync(finish_in_thread, seen, limiter=limiter)
