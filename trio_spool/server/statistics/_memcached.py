"""Groups of statistics that memcached's tools ask for, in its own form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from ...engine import Engine
from ..data import Bucket, prefix_of
from ..settings import TcpAddress
from ..shared import Shared
from ._rows import RawRow, Row

# The class that every item is said to have where memcached has its slab classes, and the number of those.
_CLASS: Final = 1
_CLASSES: Final = 64


def conns(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What each listener and each connection does, in memcached's words, keyed by its number."""
    if argument:
        return None
    rows = []
    for number, address in enumerate(shared.listening):
        place = "0" * (number + 1)  # connections are counted from 1
        shown = f"tcp:{address.host}:{address.port}" if isinstance(address, TcpAddress) else str(address)
        rows += [Row(f"{place}:addr", shown), Row(f"{place}:state", "conn_listening"), Row(f"{place}:secs_since_last_cmd", 0)]
    for connection in shared.connections:
        described = connection.describe()
        peer = str(described["peer"])
        place = f"{connection.number}"
        busy = bool(described.get("current_count")) or bool(described.get("queued"))
        idle = described.get("idle_seconds", 0)
        rows += [
            Row(f"{place}:addr", f"tcp:{peer}" if ":" in peer else "unix"),
            Row(f"{place}:state", "conn_parse_cmd" if busy else "conn_read"),
            Row(f"{place}:secs_since_last_cmd", int(idle) if isinstance(idle, (int, float)) else 0),
        ]
    return rows


def cachedump(shared: Shared, bucket: Bucket, argument: str) -> Iterable[RawRow] | None:
    """The size and the expiry of items of the default collection, keyed by their names.

    The argument is a slab class, of which only 1 has items, and how many of them to return; 0 for all.
    """
    words = argument.split()
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None
    number, limit = int(words[0][:9]), int(words[1][:18])
    if number >= _CLASSES:
        return None
    if number != _CLASS:
        return ()
    rows = _cached(bucket.engine, prefix_of(0))
    return islice(rows, limit) if limit else rows


def _cached(engine: Engine, prefix: bytes) -> Iterator[RawRow]:
    for key, entry in engine.entries(prefix):
        if not key.startswith(prefix):
            return
        yield RawRow(key[len(prefix) :], b"[%d b; %d s]" % (entry.size, entry.expiry))
