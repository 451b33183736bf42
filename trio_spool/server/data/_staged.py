"""What transactions of Couchbase's SDKs keep in documents until they have ended."""

from __future__ import annotations

from typing import Final

from ._keys import space_of

# The attribute of a document that a transaction has changed, as it stands in JSON. Nobody else should use this name.
_STAGED: Final = b'"txn"'
# What the keys of the records of attempts, and of the clients that clean up after each other, begin with.
_RECORDS: Final = b"_txn:"


def may_evict(key: bytes, xattrs: bytes) -> bool:
    """Return whether an item may be removed to make room: not if a transaction would be lost by that, or be carried out by half.

    Args:
        key: The stored key.
        xattrs: The extended attributes.
    """
    return not xattrs or not (_STAGED in xattrs or key.startswith(_RECORDS, len(space_of(key))))
