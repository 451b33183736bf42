"""Statistics of one item, and of the store, as Couchbase's tools ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ..data import Bucket, prefix_of
from ..shared import Shared
from ._errors import NoKeyError
from ._rows import Row, counter, gauge

# The datatype bits of an item, and what the tools call them.
_DATATYPES: Final = ((1, "json"), (2, "snappy"), (4, "xattr"))


def key(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """What is known of one item, but its value. The argument is the key, its vbucket, and perhaps ``scope.collection``."""
    words = argument.strip().split(" ")
    path = "_default._default"
    if len(words) > 2 and not words[-1].isdecimal():
        path = words.pop()
    if len(words) < 2 or not words[-1].isdecimal() or int(words[-1]) >= bucket.vbuckets:
        return None
    collection = bucket.manifest.collection(path)
    if collection is None:
        return None
    return _item(bucket, " ".join(words[:-1]), prefix_of(collection.id))


def _item(bucket: Bucket, name: str, prefix: bytes) -> Iterator[Row]:
    """Read the item, in a worker thread: an engine's reads may have to wait."""
    item = bucket.read_in_thread(prefix + name.encode())
    if item is None:
        raise NoKeyError(f"no item has the key {name!r:.120}")
    datatypes = item.datatype | (4 if item.xattrs else 0)
    yield Row("key_is_dirty", "false")  # what can be read is committed
    yield Row("key_exptime", item.expiry)
    yield Row("key_datatype", ",".join(text for bit, text in _DATATYPES if datatypes & bit) or "raw")
    yield Row("key_flags", item.flags)
    yield Row("key_cas", item.cas)
    yield Row("key_vb_state", "active")


def kvstore(shared: Shared, bucket: Bucket, argument: str) -> Iterable[Row] | None:
    """The store of the bucket, as Couchbase's tools ask for it: a part of ``engine``."""
    if argument.strip():
        return None

    def rows() -> Iterator[Row]:
        statistics = bucket.engine.statistics()
        yield Row("rw_0:backend_type", statistics.kind)
        yield counter("rw_0:commits", statistics.commits)
        yield counter("rw_0:operations", statistics.operations)
        yield counter("rw_0:failure_damaged", statistics.damaged)
        yield gauge("rw_0:disk_bytes", statistics.disk_bytes, "bytes")
        yield gauge("rw_0:pending_mutations", statistics.queued)

    return rows()
