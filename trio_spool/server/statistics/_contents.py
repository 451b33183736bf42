"""Statistics of what a bucket holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from ..._formats import Collection, Scope
from ...engine import Engine
from ..data import Bucket, prefix_of
from ..shared import Shared
from ._rows import RawRow, Row, counter, gauge, summary

# Of the engine's statistics, those that go up and down, with their units; the others are counters or texts.
_GAUGES = {
    "items": "", "tombstones": "", "used_pages": "", "unused_pages": "",
    "disk_bytes": "bytes", "live_bytes": "bytes", "unused_bytes": "bytes", "max_held_bytes": "bytes",
    "map_bytes": "bytes", "snapshots": "", "oldest_snapshot_seconds": "seconds", "largest_group": "", "queued": "",
    "queued_bytes": "bytes", "max_size": "bytes",
}  # fmt: skip


def engine(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What the store holds and has done."""
    return None if argument else engine_rows(bucket)


def engine_rows(bucket: Bucket) -> Iterator[Row]:
    """Yield the rows of the group ``engine``, in a worker thread."""
    for name, value in attrs.asdict(bucket.engine.statistics()).items():
        if name in _GAUGES:
            yield gauge(name, value, _GAUGES[name])
        elif isinstance(value, str):
            yield Row(name, value)
        else:
            yield counter(name, value, "seconds" if name.endswith("_seconds") else "")
    yield gauge("busy_seconds", round(bucket.engine.busy_seconds, 3), "seconds")
    distributions = bucket.engine.distributions()
    yield from summary("commit", distributions.commits, "microseconds")
    yield from summary("group", distributions.groups)


def keys(shared: Shared, bucket: Bucket, argument: str) -> Iterable[RawRow] | None:
    """One row for each stored key of a collection: the size of its value, its expiry, and its CAS.

    The argument is the collection, as ``scope.collection``; the default collection if it is missing.
    """
    collection = bucket.manifest.collection(argument or "_default")
    if collection is None:
        return None
    return _keys(bucket.engine, prefix_of(collection.id))


def _keys(engine: Engine, prefix: bytes) -> Iterator[RawRow]:
    skip = len(prefix)
    for key, entry in engine.entries(prefix):
        if not key.startswith(prefix):
            return
        yield RawRow(key[skip:], b"size=%d expiry=%d cas=%d" % (entry.size, entry.expiry, entry.cas))


def collections(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What each collection holds, keyed by ``scope id:collection id:``: items, and bytes of keys and values.

    The argument is one collection, as ``scope.collection``.
    """
    chosen = [(scope, collection) for scope, collection in bucket.manifest if argument in ("", f"{scope.name}.{collection.name}")]
    if argument and not chosen:
        return None
    rows = [Row("manifest_uid", f"0x{bucket.manifest.uid:x}")] if not argument else []
    for scope, collection in chosen:
        rows += _collection_rows(bucket, scope, collection)
    return rows


def _collection_rows(bucket: Bucket, scope: Scope, collection: Collection) -> list[Row]:
    held = bucket.held(collection.id)
    place = f"0x{scope.id:x}:0x{collection.id:x}:"
    rows = [
        Row(place + "name", collection.name),
        Row(place + "scope_name", scope.name),
        gauge(place + "items", held.items),
        gauge(place + "data_size", held.bytes, "bytes"),
    ]
    if collection.max_ttl:
        rows.append(gauge(place + "maxTTL", collection.max_ttl, "seconds"))
    return rows


def scopes(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What each scope holds in all its collections, keyed by ``scope id:``. The argument is the name of one scope."""
    chosen = [scope for scope in bucket.manifest.scopes if argument in ("", scope.name)]
    if argument and not chosen:
        return None
    rows = [Row("manifest_uid", f"0x{bucket.manifest.uid:x}")] if not argument else []
    for scope in chosen:
        held = [bucket.held(collection.id) for collection in scope.collections]
        place = f"0x{scope.id:x}:"
        rows += [
            Row(place + "name", scope.name),
            gauge(place + "collections", len(scope.collections)),
            gauge(place + "items", sum(space.items for space in held)),
            gauge(place + "data_size", sum(space.bytes for space in held), "bytes"),
        ]
    return rows


def uuid(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The uuid of the bucket, which distinguishes it from another one of the same name."""
    return None if argument else [Row("uuid", bucket.uuid)]


def buckets(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """How many items each bucket has, or why it can't be used. All other groups are about the selected bucket."""
    if argument:
        return None
    rows = [gauge(each.name, sum(space.items for space in each.engine.spaces.values())) for each in shared.buckets]
    return rows + [Row(name, f"broken: {reason}") for name, reason in shared.buckets.broken.items()]


# vbuckets. All of them share one store, and so its sequence numbers.


def _vbuckets(bucket: Bucket, argument: str) -> range | None:
    argument = argument.strip()
    if not argument:
        return range(bucket.vbuckets)
    if argument.isdecimal() and int(argument) < bucket.vbuckets:
        return range(int(argument), int(argument) + 1)
    return None


def vbucket(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The state of each vbucket, which is active. The argument is one vbucket."""
    chosen = _vbuckets(bucket, argument)
    return None if chosen is None else [Row(f"vb_{number}", "active") for number in chosen]


def vbucket_details(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The state, uuid and sequence numbers of each vbucket. The argument is one vbucket."""
    chosen = _vbuckets(bucket, argument)
    if chosen is None:
        return None
    seqno, items = bucket.engine.seqno, sum(space.items for space in bucket.engine.spaces.values())
    rows = []
    for number in chosen:
        rows += [
            Row(f"vb_{number}", "active"),
            Row(f"vb_{number}:uuid", bucket.vbucket_uuid(number)),
            counter(f"vb_{number}:high_seqno", seqno),
            counter(f"vb_{number}:last_persisted_seqno", seqno),
            # Items are counted by collection, so those of all vbuckets together are known, and shown as those of the first one.
            gauge(f"vb_{number}:num_items", 0 if number else items),
        ]
    return rows


def failovers(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The history of each vbucket: one entry, since there is one node. The argument is one vbucket."""
    chosen = _vbuckets(bucket, argument)
    if chosen is None:
        return None
    rows = []
    for number in chosen:
        rows += [
            Row(f"vb_{number}:num_entries", 1),
            Row(f"vb_{number}:0:id", bucket.vbucket_uuid(number)),
            Row(f"vb_{number}:0:seq", 0),
        ]
    return rows
