"""The metrics, each described once. The exposition, the page of the documentation and its tests are made from these rows.

Where a metric says the same as a row of the statistics, it is made of that row, and the row's unit decides the factor: Prometheus
counts in seconds and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import attrs

PREFIX: Final = "trio_spool_"


class Type(Enum):
    """The types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(Enum):
    """Where the values come from: a group of statistics, or what is made in `_samples`."""

    GENERAL = ""  # what is of the whole service in it
    SPOOL = "spool"
    RANGE_SCANS = "range-scans"
    SNAPSHOTS = "snapshots"
    ENGINE = "engine"  # of each bucket
    MADE = "made"


@attrs.frozen
class Metric:
    """A metric.

    Attributes:
        name: The name, without the prefix, and for counters without ``_total``.
        type: The type.
        help: What it says: one sentence.
        source: Where the values come from.
        rows: The rows of that group, each with the values of the labels.
        labels: The names of the labels. Metrics of a bucket have its name in front.
    """

    name: str
    type: Type
    help: str
    source: Source = Source.MADE
    rows: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name under which queries find it: that of a histogram is followed by ``_bucket``, ``_count`` and ``_sum``."""
        return PREFIX + self.name + ("_total" if self.type is Type.COUNTER else "")


def _counter(name: str, help_: str, source: Source, row: str) -> Metric:
    return Metric(name, Type.COUNTER, help_, source, {row: ()}, _labels(source))


def _gauge(name: str, help_: str, source: Source, row: str) -> Metric:
    return Metric(name, Type.GAUGE, help_, source, {row: ()}, _labels(source))


def _labels(source: Source) -> tuple[str, ...]:
    return ("bucket",) if source is Source.ENGINE else ()


_G, _S, _E = Source.GENERAL, Source.SPOOL, Source.ENGINE
_LOOKUPS: Final = {
    f"{row}_{found}": (command, result)
    for row, command in (
        ("get", "get"), ("touch", "touch"), ("delete", "delete"), ("incr", "increment"), ("decr", "decrement"), ("cas", "cas"),
    )
    for found, result in (("hits", "hit"), ("misses", "miss"))
}  # fmt: skip

_SERVICE: Final = (
    Metric("build_info", Type.GAUGE, "Always 1: the version, the engine, and how it syncs.", labels=("version", "engine", "fsync")),
    Metric("stage", Type.GAUGE, "1 for the stage that the service is in, 0 for the others.", labels=("stage",)),
    _gauge("uptime_seconds", "For how long the service has been running.", _G, "uptime"),
    Metric("scrape_seconds", Type.GAUGE, "How long it took to gather the metrics before these."),
    Metric("scrapes", Type.COUNTER, "How often the metrics were gathered."),
)
_CLIENTS: Final = (
    _gauge("connections", "Open connections of clients.", _G, "curr_connections"),
    _gauge("connections_max", "How many connections there may be (--max-connections).", _G, "max_connections"),
    _counter("connections_opened", "Connections that were accepted.", _G, "total_connections"),
    Metric(
        "connections_rejected",
        Type.COUNTER,
        "Connections that were refused, by the limit, or because of the drain.",
        labels=("reason",),
    ),
    Metric(
        "connections_ended",
        Type.COUNTER,
        "Connections that have ended, by the reason, as the log has it.",
        labels=("reason",),
    ),
    _gauge("addresses", "Addresses that have connections.", _G, "curr_addresses"),
    _gauge("busiest_address_connections", "Connections of the address that has most.", _G, "curr_connections_of_busiest_address"),
    _counter("received_bytes", "Bytes that clients sent.", _G, "bytes_read"),
    Metric("sent_bytes", Type.COUNTER, "Bytes that the system took for clients."),
    _counter("logins", "Logins that were tried.", _G, "auth_cmds"),
    _counter("login_failures", "Logins that were refused, or not tried in time.", _G, "auth_errors"),
    Metric(
        "limit_hits", Type.COUNTER, "How often a limit refused, disconnected or cut off somebody, by its option.", labels=("limit",)
    ),
    _counter("bad_requests", "Requests, and bytes, that were not understood.", _G, "bad_requests"),
)
_COMMANDS: Final = (
    Metric("requests", Type.COUNTER, "Requests that were answered, by command and status.", labels=("command", "status")),
    Metric(
        "request_duration_seconds",
        Type.HISTOGRAM,
        "How long requests took: from when they were read until their answers were queued.",
        labels=("command",),
    ),
    Metric(
        "lookups",
        Type.COUNTER,
        "How often a key was there, by kind of command.",
        _G,
        {**_LOOKUPS, "cas_badval": ("cas", "changed")},
        ("kind", "result"),
    ),
    _counter("stores", "Items that were stored.", _G, "total_items"),
    _counter("flushes", "Commands that deleted all items of a bucket.", _G, "cmd_flush"),
    _counter("command_failures", "Commands that failed because of a bug.", _G, "command_failures"),
    _counter("long_commands", "Long commands that were begun.", _G, "streams"),
    _counter("long_command_failures", "Long commands that failed.", _G, "stream_failures"),
    Metric(
        "long_commands_running",
        Type.GAUGE,
        "Long commands that are running: those whose producers work, and those that wait for room in the window, or for a worker.",
        labels=("state",),
    ),
)
_SPOOLS: Final = (
    Metric("spool_fragments", Type.COUNTER, "Fragments that producers emitted."),
    Metric("spool_bytes", Type.COUNTER, "Bytes that spools handed over."),
    Metric("spool_batches", Type.COUNTER, "Batches in which these bytes were handed over."),
    Metric("spool_wakeups", Type.COUNTER, "How often a worker had to wake the event loop."),
    Metric("spool_turns", Type.COUNTER, "Turns that producers were given."),
    Metric("spool_blocked_seconds", Type.COUNTER, "How long producers waited because a window was full."),
    Metric("spool_waited_seconds", Type.COUNTER, "How long producers waited for a worker."),
    Metric("spool_held_seconds", Type.COUNTER, "How long producers held a worker."),
    Metric("spool_depth_bytes", Type.GAUGE, "What all spools hold, and what of them is being written."),
    Metric("spool_high_water_bytes", Type.GAUGE, "The most that one spool has held."),
    Metric("spool_overdue", Type.GAUGE, "Producers that were stopped more than 5 seconds ago and have not ended."),
    _gauge("window_bytes", "How much may be queued for one connection (--window).", _S, "window"),
    _gauge("workers", "Threads that produce answers (--workers).", _S, "workers"),
    _gauge("workers_busy", "Those of them that are in use.", _S, "workers_busy"),
    _gauge("workers_waiting", "Producers that wait for one.", _S, "producers_waiting_for_worker"),
    Metric(
        "held_bytes",
        Type.GAUGE,
        "What all connections hold: requests that have arrived in part, queued replies, and what is spooled.",
    ),
    _gauge("held_high_water_bytes", "The most that they were seen to hold.", _S, "buffered_high_water"),
    _gauge("held_max_bytes", "How much they may hold (--max-buffered).", _S, "buffered_max"),
    _gauge("memory_max_bytes", "How much memory the process may need, apart from pages of files.", _S, "memory_max"),
)
_LOOP: Final = (
    Metric("loop_lag_seconds", Type.HISTOGRAM, "How late the event loop was when it was looked at, ten times a second."),
    _gauge("loop_tasks", "Tasks of the event loop.", _S, "loop_tasks"),
    Metric(
        "incidents",
        Type.COUNTER,
        "How often something happened that the log tells of only when it begins and ends.",
        labels=("event",),
    ),
    Metric("incidents_going_on", Type.GAUGE, "Whether it goes on.", labels=("event",)),
)
_SCANS: Final = (
    _gauge("scans", "Open range scans.", Source.RANGE_SCANS, "open"),
    _gauge("scans_max", "How many may be open (--max-scans).", Source.RANGE_SCANS, "open_max"),
    _gauge("scans_waiting", "Clients that wait for a sequence number, to create a scan.", Source.RANGE_SCANS, "waiting"),
    _counter("scans_created", "Range scans that were created.", Source.RANGE_SCANS, "created"),
    _counter("scans_expired", "Range scans that were ended because of their age.", Source.RANGE_SCANS, "expired"),
    _counter("scans_lost", "Range scans that were ended because their snapshots were.", Source.RANGE_SCANS, "lost"),
    _gauge("snapshots", "Copies of databases that are kept for backups.", Source.SNAPSHOTS, "kept"),
    _gauge("snapshots_max", "How many may be kept (--max-snapshots).", Source.SNAPSHOTS, "kept_max"),
    _counter("snapshots_prepared", "Copies that were made.", Source.SNAPSHOTS, "prepared"),
    _counter("snapshots_expired", "Copies that were removed because nobody read them.", Source.SNAPSHOTS, "expired"),
)
_BUCKETS: Final = (
    Metric("buckets", Type.GAUGE, "Buckets that can be used, and those that are broken.", labels=("state",)),
    Metric("data_free_bytes", Type.GAUGE, "Bytes that are free on the disk of the data directory, for whom the server runs as."),
    _gauge("bucket_items", "Items, including expired ones that have not been removed yet.", _E, "items"),
    _gauge("bucket_tombstones", "Deleted documents that are kept for transactions.", _E, "tombstones"),
    Metric("bucket_value_bytes", Type.GAUGE, "Bytes of keys and values.", labels=("bucket",)),
    _gauge("bucket_file_bytes", "Bytes of the file that are in use or were.", _E, "disk_bytes"),
    _gauge("bucket_live_bytes", "Bytes of the file that the items need.", _E, "live_bytes"),
    _gauge("bucket_unused_bytes", "Bytes of the file that are free, or needed by snapshots alone.", _E, "unused_bytes"),
    _gauge("bucket_used_pages", "Pages of the file that the items need.", _E, "used_pages"),
    _gauge("bucket_unused_pages", "Pages of the file that are free, or needed by snapshots alone.", _E, "unused_pages"),
    _gauge("bucket_held_max_bytes", "How many unused bytes end the oldest snapshot when the file grows.", _E, "max_held_bytes"),
    _gauge("bucket_map_bytes", "Bytes of address space that are reserved.", _E, "map_bytes"),
    _counter("bucket_map_growths", "How often that was not enough.", _E, "map_growths"),
    _counter("bucket_seqno", "The sequence number of the last mutation.", _E, "seqno"),
    _gauge("bucket_snapshots", "Open snapshots.", _E, "snapshots"),
    _gauge("bucket_oldest_snapshot_seconds", "For how long the oldest of them has been open.", _E, "oldest_snapshot_seconds"),
    _counter("bucket_snapshots_ended", "Snapshots that reached the end of their life.", _E, "snapshots_ended"),
    _counter("bucket_snapshots_ended_for_space", "Snapshots that kept too much on disk.", _E, "snapshots_ended_for_space"),
    _counter("bucket_operations", "Operations that were carried out.", _E, "operations"),
    _counter("bucket_commits", "Transactions that changed something.", _E, "commits"),
    _counter("bucket_syncs", "How often what was committed was forced to the disk.", _E, "syncs"),
    _gauge("bucket_largest_group", "The most operations in one transaction.", _E, "largest_group"),
    _gauge("bucket_queue", "Submissions that wait for the writer thread.", _E, "queued"),
    _gauge("bucket_queue_bytes", "Bytes of the values in them.", _E, "queued_bytes"),
    _gauge(
        "bucket_busy_seconds",
        "For how long the group has been going on that is being carried out; 0 if none is.",
        _E,
        "busy_seconds",
    ),
    _counter("bucket_expired", "Expired items that were removed.", _E, "expired"),
    _counter("bucket_evictions", "Items that were removed to make room for others.", _E, "evictions"),
    _gauge("bucket_max_size_bytes", "What the items may take; 0 for no bound.", _E, "max_size"),
    _counter("bucket_damaged", "How often something damaged was met.", _E, "damaged"),
    _counter("bucket_scrubbed", "Items that the scrub has verified.", _E, "scrubbed"),
    _counter("bucket_scrubs", "How often the scrub has been through all items.", _E, "scrubs"),
    Metric("bucket_commit_seconds", Type.HISTOGRAM, "How long commits took.", labels=("bucket",)),
    Metric(
        "bucket_group_operations", Type.HISTOGRAM, "How many operations were carried out in one transaction.", labels=("bucket",)
    ),
    Metric("background_runs", Type.COUNTER, "How often work in the background was done.", labels=("bucket", "work")),
    Metric("background_seconds", Type.COUNTER, "How long it took.", labels=("bucket", "work")),
    Metric("background_failures", Type.COUNTER, "How often it failed, or met something damaged.", labels=("bucket", "work")),
    Metric("background_running", Type.GAUGE, "Whether it is going on.", labels=("bucket", "work")),
)

#: By the headings of the documentation.
EXPOSED: Final[dict[str, tuple[Metric, ...]]] = {
    "The service": _SERVICE,
    "Clients and limits": _CLIENTS,
    "Commands": _COMMANDS,
    "Spools and workers": _SPOOLS,
    "The event loop and incidents": _LOOP,
    "Scans and copies": _SCANS,
    "Buckets": _BUCKETS,
}
#: What prometheus-client adds about the process, where the system tells it.
LIBRARY: Final = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
    "python_info",
)
#: Rows of the statistics with a kind that are no metric, and why.
LEFT_OUT: Final = {
    "time": "every sample has a time",
    "rusage_user": "process_cpu_seconds_total",
    "rusage_system": "process_cpu_seconds_total",
    "connection_structures": "connections",
    "threads": "workers",
    "cmd_get": "the sum of the lookups of get",
    "cmd_touch": "the sum of the lookups of touch",
    "cmd_set": "requests",
    "rejected_connections": "the sum of connections_rejected",
    "idle_kicks": "limit_hits",
    "login_kicks": "limit_hits",
    "frame_kicks": "limit_hits",
    "rate_kicks": "limit_hits",
    "buffer_kicks": "limit_hits",
    "batch": "a setting that nothing runs into",
    "connection_bytes_max": "memory_max_bytes is what a machine needs",
    "commit_seconds": "bucket_commit_seconds_sum",
}
