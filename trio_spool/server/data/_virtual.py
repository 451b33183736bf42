"""The virtual extended attributes: facts about an item that can be looked up as if they were stored with it."""

from __future__ import annotations

import json
from collections.abc import Callable

import google_crc32c

from ...engine import Item, Tombstone, Virtual, members

# CAS values follow the time, in nanoseconds: see the engine's batches.
NANOSECONDS = 10**9


def virtual_attributes(item: Item, vbucket_uuid: int, hybrid_time: Callable[[], int]) -> Virtual:
    """Return functions that make ``$document``, ``$vbucket`` and ``$XTOC`` as JSON.

    Args:
        item: The item.
        vbucket_uuid: The uuid of the item's vbucket.
        hybrid_time: Returns the engine's time in nanoseconds. Transactions of Couchbase's SDKs compare it with the CAS that another
            attempt has left in a document, to find out whether that attempt has expired.
    """

    def document() -> bytes:
        deleted = isinstance(item, Tombstone)
        datatypes = (["json"] if item.datatype & 1 else []) + (["xattr"] if item.xattrs else [])
        content = {
            "CAS": f"0x{item.cas:016x}",
            "vbucket_uuid": f"0x{vbucket_uuid:016x}",
            "seqno": f"0x{item.seqno:016x}",
            "revid": str(item.seqno),
            "exptime": item.cas // NANOSECONDS if deleted else item.expiry,
            "value_bytes": len(item.value),
            "value_crc32c": f"0x{google_crc32c.value(item.value):08x}",
            "datatype": datatypes or ["raw"],
            "deleted": deleted,
            "last_modified": str(item.cas // NANOSECONDS),
            "flags": item.flags,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    def vbucket() -> bytes:
        return json.dumps({"HLC": {"now": str(hybrid_time() // NANOSECONDS), "mode": "real"}}, separators=(",", ":")).encode()

    def contents() -> bytes:
        return b"[%b]" % b",".join(b'"%b"' % name for name, _ in members(item.xattrs or b"{}"))

    return {b"$document": document, b"$vbucket": vbucket, b"$XTOC": contents}
