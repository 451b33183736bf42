"""Sub-documents: looking into a document at paths, and changing it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...engine import Edit, Item, Step, StepResult, lookup
from ..data import Bucket, virtual_attributes
from .expiry import expiry_in
from .items import JSON

# Bytes. A larger document is looked into by a worker thread, so that others need not wait for it. Picked, not measured.
LARGE: Final = 64 * 1024


def look_up(bucket: Bucket, vbucket: int, item: Item, steps: Sequence[Step]) -> list[StepResult]:
    """Return what is at the paths of a document. For a document above `LARGE`, call it in a worker thread."""
    return list(lookup(item, tuple(steps), virtual_attributes(item, bucket.vbucket_uuid(vbucket), bucket.engine.hybrid_time)))


def edit(
    bucket: Bucket,
    key: bytes,
    steps: tuple[Step, ...],
    *,
    expiry: int | None,
    keep_expiry: bool,
    create: bool,
    add: bool,
    cas: int,
    max_size: int,
) -> Edit:
    """Change a document at paths; an expiry of None keeps the document's, and is no expiry for a new document."""
    new = expiry_in(bucket, key, expiry or 0)
    absolute = None if expiry is None or keep_expiry else new
    return Edit(key, steps, expiry=absolute, new_expiry=new, datatype=JSON, create=create, add=add, cas=cas, max_size=max_size)
