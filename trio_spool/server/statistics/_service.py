"""Statistics of the whole service.

What a group needs from the event loop, it copies when it is called. The rest may be a generator, which runs in a worker thread.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import trio

from ..._core import SpoolStatistics
from ...engine import find_engine
from ..data import Bucket
from ..settings import BACKLOG
from ..shared import Shared
from ._rows import RawRow, Row, counter, gauge, ranges, summary

# Of how commands varied: for people and programs that know this server, and as Couchbase's tools read it.
TIMINGS: Final = "timings"
SUMMARY: Final = "summary"
HISTOGRAM: Final = "histogram"
# Names of memcached's statistics of what does not exist here, but that its tools miss when they are not there.
_NOTHING: Final = (
    "conn_yields", "store_no_memory", "direct_reclaims", "lru_crawler_starts", "crawler_items_checked",
    "crawler_reclaimed", "moves_to_cold", "moves_to_warm", "moves_within_lru",
)  # fmt: skip


# memcached's names for which protocols are spoken.
_BINDINGS: Final = {"binary": "binary", "text": "ascii", "binary,text": "auto-negotiate", "text,binary": "auto-negotiate"}


def general(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """Memcached's general statistics, under the names that its tools know."""
    if argument:
        return None
    of_service = service_rows(shared, shared.connections.bytes_written())
    watchers = len(shared.events)
    hits, accepting = dict(shared.limits.counts), int(not shared.life.draining)

    def rows() -> Iterator[Row]:
        engine = bucket.engine.statistics()
        yield from of_service
        yield gauge("curr_items", engine.items)
        yield gauge("bytes", sum(space.bytes for space in bucket.engine.spaces.values()), "bytes")
        yield gauge("limit_maxbytes", engine.max_size or engine.map_bytes, "bytes")
        yield counter("evictions", engine.evictions)
        for name in _NOTHING:
            yield counter(name, 0)
        yield counter("expired_unfetched", engine.expired)
        yield counter("reclaimed", engine.expired)
        yield counter("listen_disabled_num", hits["max-connections"])
        yield counter("store_too_large", hits["max-item-size"])
        yield gauge("total_malloced", engine.disk_bytes, "bytes")
        yield gauge("accepting_conns", accepting)
        yield gauge("log_watchers", watchers)
        yield gauge("threads", shared.settings.workers + 2)

    return rows()


def service_rows(shared: Shared, bytes_written: int) -> list[Row]:
    """Return the general statistics that are about no bucket. Quick, but for the bytes, which take a look at every connection."""
    times, connections = os.times(), len(shared.connections)
    counters = {**attrs.asdict(shared.counters), "bytes_written": bytes_written}
    return [
        Row("pid", os.getpid()),
        counter("uptime", shared.uptime.seconds(), "seconds"),
        gauge("time", int(time.time()), "seconds"),
        Row("version", shared.version),
        Row("pointer_size", struct.calcsize("P") * 8),
        counter("rusage_user", f"{times.user:.6f}", "seconds"),
        counter("rusage_system", f"{times.system:.6f}", "seconds"),
        gauge("max_connections", shared.settings.max_connections),
        gauge("curr_connections", connections),
        gauge("curr_addresses", len(shared.admission)),
        gauge("curr_connections_of_busiest_address", shared.admission.busiest()),
        gauge("connection_structures", connections),
        *(counter(name, value, "bytes" if name.startswith("bytes_") else "") for name, value in counters.items()),
    ]


def settings(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The settings of the service, under memcached's names where it has them, and then under their own."""
    if argument:
        return None
    values = shared.settings
    rows = [
        Row("maxbytes", bucket.bound.size),
        Row("maxconns", values.max_connections),
        Row("tcpport", shared.port(tls=False)),
        Row("udpport", 0),
        Row("inter", ", ".join(map(str, shared.listening))),
        Row("verbosity", shared.verbosity),
        Row("oldest", 0),
        Row("evictions", "on" if bucket.bound.size and bucket.bound.evicts else "off"),
        Row("domain_socket", shared.unix_path() or "NULL"),
        Row("umask", f"{values.unix_mode:o}"),  # memcached's name for the mode of its socket
        Row("growth_factor", "1.00"),
        Row("chunk_size", 0),
        Row("num_threads", values.workers + 2),
        Row("stat_key_prefix", ":"),
        Row("detail_enabled", shared.prefixes.on),
        Row("reqs_per_event", 0),
        Row("cas_enabled", True),
        Row("client_flags_size", 4),
        Row("shutdown_command", False),
        Row("tcp_backlog", BACKLOG),
        Row("binding_protocol", _BINDINGS[values.protocols]),
        Row("auth_enabled_sasl", shared.logins.required),
        Row("item_size_max", values.max_item_size),
        Row("flush_enabled", not values.disable_flush),
    ]
    rows.append(Row("engine", find_engine(values.engine).name))
    rows.append(Row("advertise", ", ".join(values.advertise)))
    rows.append(Row("management", ", ".join(values.management)))
    shown = {"engine", "listen", "advertise", "management", "max_item_size", "max_connections", "disable_flush", "unix_mode"}
    rows += [Row(name, _shown(value)) for name, value in attrs.asdict(values, recurse=False).items() if name not in shown]
    return rows


def _shown(value: object) -> object:
    """Return a setting as a statistic: what is not set is an empty text, and addresses are a list with commas."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else value


def timings(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The latency of each command in microseconds: how often it ran, the mean, percentiles, and how often it took how long.

    The argument is ``summary`` or ``histogram``, for only the first three, or the last.
    """
    argument = argument.strip()
    if argument not in ("", SUMMARY, HISTOGRAM):
        return None
    measured = shared.timings.read()

    def rows() -> Iterator[Row]:
        for each in measured:
            if argument != HISTOGRAM:
                yield from summary(each.command, each.latency, "microseconds")
            if argument != SUMMARY:
                # The mean is in the summary as well.
                yield from list(ranges(each.command, each.latency, "microseconds"))[: None if argument else -1]

    return rows()


def requests(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How often each command ended with which status, as ``COMMAND:STATUS``."""
    if argument:
        return None
    rows = []
    for each in shared.timings.read():
        rows.append(counter(f"{each.command}:ok", each.succeeded))
        rows += [counter(f"{each.command}:{status}", count) for status, count in sorted(each.failed.items())]
    return rows


def limits(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How often each limit was reached, so that somebody was refused, disconnected or cut off, by the name of its option."""
    return None if argument else [counter(name, times) for name, times in shared.limits.counts.items()]


def loop(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How late the event loop is: at the last look, and since the beginning or the last reset."""
    if argument:
        return None
    lag = shared.lag
    return [
        gauge("lag", round(lag.last * 1e6), "microseconds"),
        *summary("lag", lag.histogram.read(), "microseconds"),
        gauge("tasks", trio.lowlevel.current_statistics().tasks_living),
    ]


def spool(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What all spools together have done, and how many workers are busy."""
    if argument:
        return None
    spooled = sum(connection.spooled() for connection in shared.connections)
    return [*spool_rows(shared, shared.connections.spool_statistics(), shared.buffers.held()), gauge("depth", spooled, "bytes")]


def spool_rows(shared: Shared, statistics: SpoolStatistics, held: int) -> list[Row]:
    """Return the rows of the group ``spool``, given what takes a look at every connection: spools, and the bytes that are held."""
    seconds = ("blocked_seconds", "waited_seconds", "held_seconds")
    units = {"bytes": "bytes", "high_water": "bytes"} | dict.fromkeys(seconds, "seconds")
    spools = attrs.asdict(statistics)
    rows = [
        (gauge if name == "high_water" else counter)(name, value, units.get(name, ""))
        for name, value in spools.items()
        if name not in ("workers", "waiting", "overdue")  # these are counts of now
    ]
    limiter = shared.limiter.statistics()
    return [
        *rows,
        gauge("workers", limiter.total_tokens),
        gauge("workers_busy", limiter.borrowed_tokens),
        gauge("producers_waiting_for_worker", shared.workers.waiting),
        gauge("producers_overdue", spools["overdue"]),
        gauge("window", shared.settings.window, "bytes"),
        gauge("batch", shared.settings.batch, "bytes"),
        gauge("connection_bytes_max", shared.settings.connection_bytes, "bytes"),
        gauge("buffered", held, "bytes"),
        gauge("buffered_high_water", shared.buffers.high_water, "bytes"),
        gauge("buffered_max", shared.settings.max_buffered, "bytes"),
        gauge("memory_max", shared.settings.memory_bytes(len(shared.buckets)), "bytes"),
        gauge("loop_tasks", trio.lowlevel.current_statistics().tasks_living),
    ]


def reset(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """No rows; sets the counters and the timings to 0."""
    if argument:
        return None
    shared.reset_statistics()
    return ()


def detail(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | Iterable[RawRow] | None:
    """How often items are used, by the part of their keys before the first colon.

    The argument ``on`` begins to count, ``off`` stops, and ``dump`` shows the counts. That is counted for all buckets together, for
    10,000 prefixes at most.
    """
    if argument in ("on", "off"):
        shared.prefixes.on = argument == "on"
        return ()
    if argument != "dump":
        return None
    return [
        RawRow(prefix, b"get %d hit %d set %d del %d" % (uses.gets, uses.hits, uses.sets, uses.deletions))
        for prefix, uses in shared.prefixes.read()
    ]


def nothing(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """No rows: for tools that ask for things that do not exist here, such as slabs."""
    return None if argument else ()


def threads(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The threads: the event loop, a writer for each bucket, and the maximum of workers."""
    if argument:
        return None
    return [
        gauge("num_frontend_threads", 1),
        gauge("num_writer_threads", len(list(shared.buckets))),
        gauge("num_worker_threads", shared.settings.workers),
    ]
