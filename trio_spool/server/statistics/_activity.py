"""Statistics of what goes on now: one JSON object for each thing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import UUID

from ..data import Bucket
from ..shared import Shared
from ._rows import Row, counter, gauge


def connections(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """One JSON object for each connection, keyed by its number: what it does, and what it waits for.

    The number of a connection, as the argument, chooses that one.
    """
    if argument.strip("0123456789"):
        return None
    wanted = int(argument) if argument else None
    found = [each for each in shared.connections if wanted in (None, each.number)]
    described = [(str(connection.number), connection.describe()) for connection in found]
    return (Row(number, json.dumps(description)) for number, description in described)


def range_scans(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The number of open range scans and its limit, and one JSON object for each, keyed by its uuid.

    Creates that wait for a sequence number are counted apart, and come last, as ``waiting:NUMBER``.
    """
    if argument:
        return None
    scans = list(shared.scans)
    return [
        gauge("open", len(scans)),
        gauge("open_max", shared.settings.max_scans),
        gauge("waiting", len(shared.waits)),
        counter("created", shared.scans.created),
        counter("expired", shared.scans.expired),
        counter("lost", shared.scans.lost),
        *(Row(str(UUID(bytes=scan.id)), json.dumps(scan.describe())) for scan in scans),
        *(Row(f"waiting:{number}", json.dumps(wait.describe())) for number, wait in enumerate(shared.waits, 1)),
    ]


def snapshots(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The number of snapshots of the files and its limit, and one JSON object for each, keyed by its uuid."""
    if argument:
        return None
    kept = list(shared.snapshots)
    return [
        gauge("kept", len(kept)),
        gauge("kept_max", shared.settings.max_snapshots),
        counter("prepared", shared.snapshots.prepared),
        counter("expired", shared.snapshots.expired),
        *(Row(snapshot.uuid, json.dumps(snapshot.describe())) for snapshot in kept),
    ]


def incidents(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How often each thing that is logged only when it begins and ends has happened; one JSON object for each that goes on."""
    if argument:
        return None
    return [
        *(counter(event.replace(" ", "_"), count) for event, count in sorted(shared.incidents.counts().items())),
        *(Row(str(number), json.dumps(incident)) for number, incident in enumerate(shared.incidents.going_on(), 1)),
    ]


def slow(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How many commands were slow; one JSON object for each of the last ones, keyed by its number, the oldest first."""
    return None if argument else _slow(shared, keys=shared.slow.shows_keys)


def slow_without_keys(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """Return what `slow` does, without the keys of items."""
    return None if argument else _slow(shared, keys=False)


def _slow(shared: Shared, *, keys: bool) -> list[Row]:
    log = shared.slow
    rows = [(str(each.number), {"at": each.time, **each.describe(key=keys)}) for each in log]
    return [
        gauge("limit", shared.settings.slow_log, "seconds"),
        counter("slow", log.count),
        counter("left_out", log.left_out),
        *(Row(number, json.dumps(description)) for number, description in rows),
    ]
