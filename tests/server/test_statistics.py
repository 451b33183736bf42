"""Statistics are typed rows: how each value behaves over time, and its unit."""

from __future__ import annotations

import attrs
import pytest
import trio

from trio_spool.engine import EngineStatistics
from trio_spool.server.conversation import STATS
from trio_spool.server.settings import LIMITS
from trio_spool.server.shared import EVERYTHING, Counters
from trio_spool.server.statistics import GROUPS, Kind, NoGroupError, RawRow, Row, as_text, ask
from trio_spool.server.statistics._service import _NOTHING

INFO, COUNTER, GAUGE = Kind
COUNTERS = [name for name in attrs.fields_dict(Counters) if not name.startswith("bytes_")]
# By group, kind and unit: all rows that are not a text or a number that is a name.
EXPECTED = {
    "": {
        (COUNTER, ""): {
            *COUNTERS,
            *_NOTHING,
            "evictions",
            "expired_unfetched",
            "reclaimed",
            "listen_disabled_num",
            "store_too_large",
        },
        (COUNTER, "bytes"): {"bytes_read", "bytes_written"},
        (COUNTER, "seconds"): {"uptime", "rusage_user", "rusage_system"},
        (GAUGE, ""): {
            "max_connections",
            "curr_connections",
            "curr_addresses",
            "curr_connections_of_busiest_address",
            "connection_structures",
            "curr_items",
            "threads",
            "accepting_conns",
            "log_watchers",
        },
        (GAUGE, "bytes"): {"bytes", "limit_maxbytes", "total_malloced"},
        (GAUGE, "seconds"): {"time"},
    },
    "spool": {
        (COUNTER, ""): {"fragments", "batches", "wakeups", "turns"},
        (COUNTER, "bytes"): {"bytes"},
        (COUNTER, "seconds"): {"blocked_seconds", "waited_seconds", "held_seconds"},
        (GAUGE, ""): {"workers", "workers_busy", "producers_waiting_for_worker", "producers_overdue", "loop_tasks"},
        (GAUGE, "bytes"): {
            "high_water",
            "depth",
            "window",
            "batch",
            "connection_bytes_max",
            "buffered",
            "buffered_high_water",
            "buffered_max",
            "memory_max",
        },
    },
    "engine": {
        (COUNTER, ""): {
            "map_growths",
            "seqno",
            "snapshots_ended",
            "snapshots_ended_for_space",
            "operations",
            "commits",
            "expired",
            "evictions",
            "damaged",
            "scrubbed",
            "scrubs",
            "syncs",
        },
        (COUNTER, "seconds"): {"commit_seconds"},
        (GAUGE, ""): {"items", "tombstones", "snapshots", "largest_group", "queued", "used_pages", "unused_pages"},
        (GAUGE, "seconds"): {"oldest_snapshot_seconds", "busy_seconds"},
        (GAUGE, "bytes"): {"disk_bytes", "live_bytes", "unused_bytes", "max_held_bytes", "map_bytes", "queued_bytes", "max_size"},
    },
    "threads": {(GAUGE, ""): {"num_frontend_threads", "num_writer_threads", "num_worker_threads"}},
    "buckets": {(GAUGE, ""): {"default"}},
    "range-scans": {(GAUGE, ""): {"open", "open_max", "waiting"}, (COUNTER, ""): {"created", "expired", "lost"}},
    "snapshots": {(GAUGE, ""): {"kept", "kept_max"}, (COUNTER, ""): {"prepared", "expired"}},
    "collections": {(GAUGE, ""): {"0x0:0x0:items"}, (GAUGE, "bytes"): {"0x0:0x0:data_size"}},
    "slow": {(GAUGE, "seconds"): {"limit"}, (COUNTER, ""): {"slow", "left_out"}},
    "scopes": {(GAUGE, ""): {"0x0:collections", "0x0:items"}, (GAUGE, "bytes"): {"0x0:data_size"}},
    "vbucket-details": {(COUNTER, ""): {"vb_0:high_seqno", "vb_0:last_persisted_seqno"}, (GAUGE, ""): {"vb_0:num_items"}},
    "limits": {(COUNTER, ""): set(LIMITS)},
    "kvstore": {
        (COUNTER, ""): {"rw_0:commits", "rw_0:operations", "rw_0:failure_damaged"},
        (GAUGE, ""): {"rw_0:pending_mutations"},
        (GAUGE, "bytes"): {"rw_0:disk_bytes"},
    },
}
TEXTS = (
    "timings",
    "settings",
    "config",
    "uuid",
    "vbucket",
    "failovers",
    "connections",
    "tasks",
    "reset",
    "items",
    "slabs",
    "sizes",
    "conns",
    "incidents",
    "requests",
)


@pytest.mark.parametrize("name", sorted([*EXPECTED, *TEXTS]))
async def test_kinds_and_units(service, name: str) -> None:
    shared = service.inside
    rows = list(ask(shared, shared.buckets.default, EVERYTHING, name))
    assert len({row.name for row in rows}) == len(rows)
    found: dict[tuple[Kind, str], set[str]] = {}
    for row in rows:
        if row.kind is not INFO:
            found.setdefault((row.kind, row.unit), set()).add(row.name)
    assert found == EXPECTED.get(name, {})


async def test_timings(service, raw) -> None:
    shared = service.inside
    shared.timings.record("get", 0.001, 3)
    rows = {row.name: row for row in ask(shared, shared.buckets.default, EVERYTHING, "timings")}
    assert rows["get_count"] == Row("get_count", 3, COUNTER)
    for label in ("mean", "p50", "p90", "p99", "p999", "max"):
        kind, unit, value = rows[f"get_{label}"].kind, rows[f"get_{label}"].unit, rows[f"get_{label}"].value
        assert (kind, unit) == (GAUGE, "microseconds")
        assert 990 <= value <= 1010


def test_every_group_is_described_and_looked_at() -> None:
    assert set(GROUPS) == {*EXPECTED, *TEXTS, "keys", "key", "detail", "loop", "cachedump"}
    assert all(group.summary.endswith(".") for group in GROUPS.values())
    assert "engine" not in attrs.fields_dict(EngineStatistics)
    assert STATS.roles


@pytest.mark.parametrize("wanted", ["no such group", "engine x", "spool x", "vbucket 1", "vbucket x", "collections a.b"])
async def test_no_group(service, wanted: str) -> None:
    shared = service.inside
    with pytest.raises(NoGroupError, match="group of statistics"):
        ask(shared, shared.buckets.default, EVERYTHING, wanted)
    await trio.lowlevel.checkpoint()


def test_text() -> None:
    rows = [Row("a", 1), Row("b", True), Row("c", False), Row("d", "x"), RawRow(b"\xff", b"\0")]
    assert list(as_text(rows)) == [(b"a", b"1"), (b"b", b"yes"), (b"c", b"no"), (b"d", b"x"), (b"\xff", b"\0")]
