"""Statistics of what runs: long commands of clients, and what the service does by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from ...engine import BackgroundWork
from ..data import Bucket
from ..shared import RunningJob, Shared
from ._rows import Row

# The long commands that are shown to Couchbase's tools, which want all of them in one value. Picked, not measured: some 300 kB.
MAX_SHOWN: Final = 1000
# What Couchbase's tools take for "never" (in nanoseconds, an hour after which a clock of theirs ends).
_NEVER: Final = 2**62
_SECOND: Final = 1_000_000_000


def tasks(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """One JSON object for each long command that is running, the oldest first: what it does, for which connection, for how long.

    Then one for each kind of work that goes on in the background of a bucket by itself, as ``background:BUCKET:NAME``; and all of
    it again for the selected bucket, in the form that Couchbase's tools read, as ``ep_tasks:tasks:BUCKET``.
    """
    if argument.strip():
        return None
    running = [job for connection in shared.connections for job in connection.jobs()]
    running.sort(key=lambda job: -job.seconds())
    rows = [Row(str(number), json.dumps(job.describe())) for number, job in enumerate(running, 1)]
    for each in shared.buckets:
        for work in each.background():
            rows.append(Row(f"background:{each.name}:{work.name}", json.dumps(describe_background(work))))
    return [*rows, *_for_tools(bucket, running)]


def describe_background(work: BackgroundWork) -> dict[str, object]:
    """Describe work for statistics, in values that JSON can hold."""
    return {
        "work": work.name,
        "description": work.description,
        "state": "resting" if work.running_seconds is None else "working",
        "seconds": round(work.running_seconds or 0.0, 3),
        "runs": work.runs,
        "last_seconds": round(work.last_seconds, 3),
        "total_seconds": round(work.total_seconds, 3),
        "failures": work.failures,
    }


def _for_tools(bucket: Bucket, running: list[RunningJob]) -> list[Row]:
    """Make the rows that ``cbstats tasks`` reads: older ones know the names without a bucket."""
    now = time.monotonic_ns()
    shown = [_job(number, job, bucket, now) for number, job in enumerate(running[:MAX_SHOWN], 1)]
    shown += [_background(number, work, bucket, now) for number, work in enumerate(bucket.background(), len(shown) + 1)]
    listed, times = json.dumps(shown), {"tasks": None, "cur_time": now}
    rows = []
    for suffix in ("", f":{bucket.name}"):
        for name, value in times.items():
            rows.append(Row(f"ep_tasks:{name}{suffix}", listed if value is None else value))
    return rows


def _job(number: int, job: RunningJob, bucket: Bucket, now: int) -> dict[str, Any]:
    described, nanoseconds = job.describe(), int(job.seconds() * _SECOND)
    return {
        "tid": number,
        "state": "RUNNING",
        "name": described["command"],
        "this": f"connection {described['connection']}",
        "bucket": bucket.name,
        "description": f"{described['command']} {described['key']}".rstrip(),
        "priority": 0,
        "waketime_ns": now - nanoseconds,
        "total_runtime_ns": nanoseconds,
        "last_starttime_ns": now - nanoseconds,
        "previous_runtime_ns": 0,
        "num_runs": 1,
        "type": "Reader",
    }


def _background(number: int, work: BackgroundWork, bucket: Bucket, now: int) -> dict[str, Any]:
    running = work.running_seconds
    return {
        "tid": number,
        "state": "SNOOZED" if running is None else "RUNNING",
        "name": work.name,
        "this": "",
        "bucket": bucket.name,
        "description": work.description,
        "priority": 0,
        "waketime_ns": _NEVER if running is None else now - int(running * _SECOND),
        "total_runtime_ns": int(work.total_seconds * _SECOND),
        "last_starttime_ns": 0 if running is None else now - int(running * _SECOND),
        "previous_runtime_ns": int(work.last_seconds * _SECOND),
        "num_runs": work.runs,
        "type": "AuxIO" if work.name == "scrub" else "Writer",
        "failures": work.failures,
    }
