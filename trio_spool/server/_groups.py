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

if TYPE_CHECKING:
    from ._service import Service

Statistic = tuple[bytes, bytes]
Group = Callable[["Service", str], "Iterable[tuple[bytes, bytes]] | None"]


def _encoded(rows: Iterable[tuple[str, object]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in rows:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        yield name.encode(), str(value).encode()


def general(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What memcached's tools expect, under the names that they know."""
    if argument:
        return None
    counters = attrs.asdict(service.counters)
    counters["bytes_written"] = service.bytes_written()
    connections = len(service.connections)
    uptime = service.clock.uptime()

    def rows() -> Iterator[tuple[str, object]]:
        engine = service.engine.statistics()
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
            ("bytes", engine.disk_bytes),
            ("limit_maxbytes", engine.map_bytes),
            ("evictions", 0),
            ("expired_unfetched", engine.expired),
            ("threads", service.settings.workers + 2),
        )

    return _encoded(rows())


def settings(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
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
        ("auth_enabled_sasl", False),
        ("item_size_max", values.max_item_size),
        ("flush_enabled", not values.disable_flush),
    ]
    known = {"listen", "max_item_size", "max_connections", "disable_flush"}
    rows += [(name, value) for name, value in attrs.asdict(values, recurse=False).items() if name not in known]
    return _encoded(rows)


def connections(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One JSON object a connection, keyed by its number."""
    described = [(str(connection.number), connection.describe()) for connection in service.connections]
    return _encoded((number, json.dumps(description)) for number, description in described)


def timings(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Latencies of each command, in microseconds."""
    return None if argument else _encoded(service.timings.summary())


def engine(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What storage says of itself."""
    if argument:
        return None

    def rows() -> Iterator[tuple[str, object]]:
        yield from attrs.asdict(service.engine.statistics()).items()

    return _encoded(rows())


def spool(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """What all spools together have done, and who is at work."""
    if argument:
        return None
    rows = list(attrs.asdict(service.spool_statistics()).items())
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


def reset(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Set the counters and the timings to nothing."""
    if argument:
        return None
    service.reset_statistics()
    return ()


def detail(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """Statistics by prefix of the key, which are not kept: accepted for the tools that ask."""
    if argument in ("on", "off"):
        return ()
    return ((b"detailed", b""),) if argument == "dump" else None


def keys(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
    """One statistic for each stored key: the size of its value, its expiry, and its CAS."""
    if argument:
        return None
    return ((key, b"size=%d expiry=%d cas=%d" % (entry.size, entry.expiry, entry.cas)) for key, entry in service.engine.entries())


def range_scans(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
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


def snapshots(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
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


def tasks(service: Service, argument: str) -> Iterable[tuple[bytes, bytes]] | None:
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
    "range-scans": range_scans,
    "snapshots": snapshots,
    "tasks": tasks,
}
