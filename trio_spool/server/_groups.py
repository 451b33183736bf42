"""The groups of statistics.

What a group needs from the event loop it copies when it is called; the rest is a generator, which runs in a worker thread.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import attrs
import trio

from ._buckets import prefix_of

if TYPE_CHECKING:
    from ..engine import Engine
    from ..mcbp import Collection, Scope
    from ._buckets import Bucket
    from ._service import Service

Statistic = tuple[bytes, bytes]
Group = Callable[["Service", "Bucket", str], "Iterable[tuple[bytes, bytes]] | None"]


def _encoded(rows: Iterable[tuple[str, object]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in rows:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        yield name.encode(), str(value).encode()


def general(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What memcached's tools expect, under the names that they know."""
    if argument:
        return None
    counters = attrs.asdict(service.counters)
    counters["bytes_written"] = service.bytes_written()
    connections = len(service.connections)
    uptime = service.clock.uptime()

    def rows() -> Iterator[tuple[str, object]]:
        engine = bucket.engine.statistics()
        times = os.times()
        yield from (
            ("pid", os.getpid()),
            ("uptime", uptime),
            ("time", int(time.time())),
            ("version", service.version),
            ("pointer_size", struct.calcsize("P") * 8),
            ("rusage_user", f"{times.user:.6f}"),
            ("rusage_system", f"{times.system:.6f}"),
            ("max_connections", service.settings.max_connections),
            ("curr_connections", connections),
            ("connection_structures", connections),
        )
        yield from counters.items()
        yield from (
            ("curr_items", engine.items),
            ("bytes", sum(space.bytes for space in bucket.engine.spaces.values())),
            ("limit_maxbytes", engine.map_bytes),
            ("evictions", 0),
            ("expired_unfetched", engine.expired),
            ("threads", service.settings.workers + 2),
        )

    return _encoded(rows())


def settings(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What the service was started with, under memcached's names where there is one, and then under its own."""
    if argument:
        return None
    values = service.settings
    tcp = service.tcp_port()
    rows: list[tuple[str, object]] = [
        ("maxbytes", 0),
        ("maxconns", values.max_connections),
        ("tcpport", tcp),
        ("udpport", 0),
        ("inter", ", ".join(service.addresses)),
        ("verbosity", service.verbosity),
        ("oldest", 0),
        ("evictions", "off"),
        ("domain_socket", service.unix_path() or "NULL"),
        ("umask", "700"),
        ("growth_factor", "1.00"),
        ("chunk_size", 0),
        ("num_threads", values.workers + 2),
        ("stat_key_prefix", ":"),
        ("detail_enabled", "no"),
        ("reqs_per_event", 0),
        ("cas_enabled", True),
        ("tcp_backlog", 128),
        ("binding_protocol", "binary"),
        ("auth_enabled_sasl", service.logins.required),
        ("item_size_max", values.max_item_size),
        ("flush_enabled", not values.disable_flush),
    ]
    known = {"listen", "max_item_size", "max_connections", "disable_flush"}
    rows += [(name, value) for name, value in attrs.asdict(values, recurse=False).items() if name not in known]
    return _encoded(rows)


def connections(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One JSON object a connection, keyed by its number."""
    described = [(str(connection.number), connection.describe()) for connection in service.connections]
    return _encoded((number, json.dumps(description)) for number, description in described)


def timings(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Latencies of each command, in microseconds."""
    return None if argument else _encoded(service.timings.summary())


def engine(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What storage says of itself."""
    if argument:
        return None

    def rows() -> Iterator[tuple[str, object]]:
        yield from attrs.asdict(bucket.engine.statistics()).items()

    return _encoded(rows())


def spool(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What all spools together have done, and who is at work."""
    if argument:
        return None
    rows = [(name, value) for name, value in attrs.asdict(service.spool_statistics()).items() if name != "workers"]
    limiter = service.limiter.statistics()
    rows += [
        ("workers", limiter.total_tokens),
        ("workers_busy", limiter.borrowed_tokens),
        ("producers_waiting_for_worker", limiter.tasks_waiting),
        ("window", service.settings.window),
        ("batch", service.settings.batch),
        ("connection_bytes_max", service.settings.connection_bytes),
        ("loop_tasks", trio.lowlevel.current_statistics().tasks_living),
    ]
    return _encoded(rows)


def reset(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Set the counters and the timings to nothing."""
    if argument:
        return None
    service.reset_statistics()
    return ()


def detail(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Statistics by prefix of the key, which are not kept: accepted for the tools that ask."""
    if argument in ("on", "off"):
        return ()
    return ((b"detailed", b""),) if argument == "dump" else None


def keys(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One statistic for each stored key of a collection: the size of its value, its expiry, and its CAS.

    The argument is the collection, as ``scope.collection``; without one, it is the default one.
    """
    collection = bucket.manifest.collection(argument or "_default")
    if collection is None:
        return None
    prefix = prefix_of(collection.id)
    return _keys(bucket.engine, prefix)


def _keys(engine: Engine, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    skip = len(prefix)
    for key, entry in engine.entries(prefix):
        if not key.startswith(prefix):
            return
        yield key[skip:], b"size=%d expiry=%d cas=%d" % (entry.size, entry.expiry, entry.cas)


def collections(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What each collection holds: items, and bytes of keys and values, keyed by ``scope id:collection id:``.

    The argument is one collection, as ``scope.collection``.
    """
    chosen = [(scope, collection) for scope, collection in bucket.manifest if argument in ("", f"{scope.name}.{collection.name}")]
    if argument and not chosen:
        return None
    rows: list[tuple[str, object]] = [("manifest_uid", f"0x{bucket.manifest.uid:x}")] if not argument else []
    for scope, collection in chosen:
        rows += _collection_rows(bucket, scope, collection)
    return _encoded(rows)


def _collection_rows(bucket: Bucket, scope: Scope, collection: Collection) -> list[tuple[str, object]]:
    held = bucket.held(collection.id)
    place = f"0x{scope.id:x}:0x{collection.id:x}:"
    rows: list[tuple[str, object]] = [
        (place + "name", collection.name),
        (place + "scope_name", scope.name),
        (place + "items", held.items),
        (place + "data_size", held.bytes),
    ]
    if collection.max_ttl:
        rows.append((place + "maxTTL", collection.max_ttl))
    return rows


def scopes(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What each scope holds, over all its collections, keyed by ``scope id:``. The argument is the name of one."""
    chosen = [scope for scope in bucket.manifest.scopes if argument in ("", scope.name)]
    if argument and not chosen:
        return None
    rows: list[tuple[str, object]] = [("manifest_uid", f"0x{bucket.manifest.uid:x}")] if not argument else []
    for scope in chosen:
        held = [bucket.held(collection.id) for collection in scope.collections]
        place = f"0x{scope.id:x}:"
        rows += [
            (place + "name", scope.name),
            (place + "collections", len(scope.collections)),
            (place + "items", sum(space.items for space in held)),
            (place + "data_size", sum(space.bytes for space in held)),
        ]
    return _encoded(rows)


def _vbuckets(bucket: Bucket, argument: str) -> range | None:
    if not argument:
        return range(bucket.vbuckets)
    if argument.isdecimal() and int(argument) < bucket.vbuckets:
        return range(int(argument), int(argument) + 1)
    return None


def vbucket(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """The state of each vbucket: active. The argument is one of them."""
    chosen = _vbuckets(bucket, argument.strip())
    return None if chosen is None else _encoded((f"vb_{number}", "active") for number in chosen)


def vbucket_details(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """The state, uuid and sequence number of each vbucket. All share one store, and so its numbers."""
    chosen = _vbuckets(bucket, argument.strip())
    if chosen is None:
        return None
    seqno = bucket.engine.seqno

    def rows() -> Iterator[tuple[str, object]]:
        for number in chosen:
            yield f"vb_{number}", "active"
            yield f"vb_{number}:uuid", bucket.vbucket_uuid(number)
            yield f"vb_{number}:high_seqno", seqno
            yield f"vb_{number}:last_persisted_seqno", seqno

    return _encoded(list(rows()))


def failovers(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """The history of each vbucket: one entry, since there is one node."""
    chosen = _vbuckets(bucket, argument.strip())
    if chosen is None:
        return None
    rows: list[tuple[str, object]] = []
    for number in chosen:
        rows += [
            (f"vb_{number}:num_entries", 1),
            (f"vb_{number}:0:id", bucket.vbucket_uuid(number)),
            (f"vb_{number}:0:seq", 0),
        ]
    return _encoded(rows)


def uuid(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What tells this bucket from another of its name."""
    return None if argument else _encoded([("uuid", bucket.uuid)])


def buckets(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """How many items each bucket has. The one that the client has selected is that of all other groups."""
    if argument:
        return None
    rows = [(each.name, sum(space.items for space in each.engine.spaces.values())) for each in service.buckets]
    return _encoded(rows)


def nothing(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Groups that tools ask for, of things that there are none of here: slabs, for example."""
    return None if argument else ()


def threads(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """The threads: the event loop, a writer for each bucket, and at most so many workers."""
    if argument:
        return None
    rows = [("num_frontend_threads", 1), ("num_writer_threads", len(list(service.buckets)))]
    return _encoded([*rows, ("num_worker_threads", service.settings.workers)])


def range_scans(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One JSON object for each open range scan, keyed by its uuid; before them, how many there were and may be."""
    if argument:
        return None
    scans = service.scans
    rows: list[tuple[str, object]] = [(str(UUID(bytes=scan.id)), json.dumps(scan.describe())) for scan in scans]
    rows[:0] = [
        ("open", len(rows)),
        ("open_max", service.settings.max_scans),
        ("created", scans.created),
        ("expired", scans.expired),
    ]
    return _encoded(rows)


def snapshots(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One JSON object for each snapshot of the files, keyed by its uuid; before them, how many there were and may be."""
    if argument:
        return None
    files = service.files
    rows: list[tuple[str, object]] = [(snapshot.uuid, json.dumps(snapshot.describe())) for snapshot in files]
    rows[:0] = [
        ("kept", len(rows)),
        ("kept_max", service.settings.max_snapshots),
        ("prepared", files.prepared),
        ("expired", files.expired),
    ]
    return _encoded(rows)


def tasks(service: Service, bucket: Bucket, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One JSON object for each long command that is running, by age: what it does, for which connection, for how long."""
    if argument:
        return None
    running = [answer for connection in service.connections for answer in connection.jobs()]
    running.sort(key=lambda answer: -answer.seconds())
    return _encoded((str(number), json.dumps(answer.describe())) for number, answer in enumerate(running, 1))


GROUPS: dict[str, Group] = {
    "": general,
    "settings": settings,
    "connections": connections,
    "timings": timings,
    "engine": engine,
    "spool": spool,
    "reset": reset,
    "detail": detail,
    "keys": keys,
    "collections": collections,
    "scopes": scopes,
    "vbucket": vbucket,
    "vbucket-details": vbucket_details,
    "failovers": failovers,
    "uuid": uuid,
    "buckets": buckets,
    "threads": threads,
    "items": nothing,
    "slabs": nothing,
    "sizes": nothing,
    "config": settings,
    "range-scans": range_scans,
    "snapshots": snapshots,
    "tasks": tasks,
}
