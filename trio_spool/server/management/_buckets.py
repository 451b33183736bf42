"""Buckets: which there are, making, changing, emptying and deleting them."""

from __future__ import annotations

from typing import Any

import attrs

from ..commands import buckets, items
from ..commands.errors import UnavailableError
from ..data import Bucket, BucketError, BucketExistsError, NoBucketError
from ..http import HttpError, Response
from ..shared import Shared
from ._bucket_forms import parse_bucket_form
from ._visits import Visit, refuse, reply

_MIB = 1024 * 1024


async def list_buckets(visit: Visit) -> Response:
    """Return the buckets that the user may use."""
    names = buckets.names(visit.shared, visit.user)
    found = (visit.shared.buckets.get(name) for name in names)
    return reply([_describe(visit.shared, bucket) for bucket in found if bucket is not None])


async def show_bucket(visit: Visit) -> Response:
    """Return one bucket."""
    return reply(_describe(visit.shared, visit.bucket))


def _describe(shared: Shared, bucket: Bucket) -> dict[str, object]:
    """Describe a bucket. What SDKs insist on, and has no meaning here, has the value that promises nothing."""
    path = f"/pools/default/buckets/{bucket.name}"
    return {
        "name": bucket.name,
        "uuid": bucket.uuid,
        "bucketType": "ephemeral" if bucket.options.ephemeral else "membase",
        "quota": {"ram": bucket.options.ram_quota * _MIB, "rawRAM": bucket.options.ram_quota * _MIB},
        "replicaNumber": 0,
        "replicaIndex": False,
        "maxTTL": 0,
        "numVBuckets": bucket.vbuckets,
        "evictionPolicy": "noEviction" if bucket.options.ephemeral else "valueOnly",
        "durabilityMinLevel": "none",
        "conflictResolutionType": "seqno",
        "compressionMode": "off",
        "controllers": {"flush": f"{path}/controller/doFlush"} if _may_be_flushed(shared, bucket) else {},
        "nodes": [],
        "uri": path,
    }


def _may_be_flushed(shared: Shared, bucket: Bucket) -> bool:
    return bucket.options.flush and not shared.settings.disable_flush


async def create_bucket(visit: Visit) -> Response:
    """Create a bucket: ``name``, and what `parse_bucket_form` takes. As in Couchbase, it is not flushed unless the form says so."""
    shared, form = visit.shared, visit.form()
    name = form.pop("name", "")
    wanted, errors = parse_bucket_form(form, shared.settings)
    if errors:
        return refuse(400, errors)
    try:
        await buckets.create(shared, name)
    except BucketExistsError:
        return refuse(400, {"name": "Bucket with given name already exists"})
    except BucketError as exc:
        return refuse(400, {"name": str(exc)})
    bucket = shared.buckets.get(name)
    if bucket is not None:  # nobody has deleted it in the meantime
        await _change(bucket, {"flush": False} | wanted)
    return Response(202)


async def change_bucket(visit: Visit) -> Response:
    """Change a bucket: what `parse_bucket_form` takes."""
    form = visit.form()
    form.pop("name", None)
    wanted, errors = parse_bucket_form(form, visit.shared.settings)
    if errors:
        return refuse(400, errors)
    await _change(visit.bucket, wanted)
    return Response()


async def _change(bucket: Bucket, wanted: dict[str, Any]) -> None:
    options = attrs.evolve(bucket.options, **wanted)
    if options != bucket.options and await bucket.change_options(options) is not None:
        raise UnavailableError("the options of the bucket could not be stored; see the service's log")


async def delete_bucket(visit: Visit) -> Response:
    """Delete a bucket."""
    (name,) = visit.names
    try:
        await buckets.delete(visit.shared, name, 0)  # no connection has this number, so that none stays
    except NoBucketError as exc:
        raise HttpError(404, str(exc)) from None
    except BucketError as exc:
        return refuse(400, str(exc))
    return Response()


async def flush_bucket(visit: Visit) -> Response:
    """Empty a bucket."""
    if not _may_be_flushed(visit.shared, visit.bucket):
        return refuse(400, "Flush is disabled for the bucket")
    (outcome,) = await visit.bucket.operate([items.flush(0)])
    visit.shared.counters.cmd_flush += 1
    if outcome.problem is not None:
        raise UnavailableError("the bucket could not be emptied; see the service's log")
    return Response()
