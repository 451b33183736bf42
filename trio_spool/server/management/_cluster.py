"""The cluster, which is one node."""

from __future__ import annotations

import sys

from ..commands import buckets
from ..http import Response
from ._visits import Visit, reply

_POOL = "/pools/default"


async def root(visit: Visit) -> Response:
    """Return nothing, to those who only ask whether somebody answers, as SDKs do in a ping."""
    return Response()


async def pools(visit: Visit) -> Response:
    """Return the name of the one pool that every cluster has."""
    return reply({"pools": [{"name": "default", "uri": _POOL}], "implementationVersion": _version(visit)})


async def pool(visit: Visit) -> Response:
    """Return the one node, and the buckets that the user may use."""
    shared = visit.shared
    node = {
        "hostname": visit.request.headers.get("host", "127.0.0.1"),
        "otpNode": "trio-spool@127.0.0.1",  # SDKs end the client's process if it is missing
        "thisNode": True,
        "status": "healthy",
        "clusterMembership": "active",
        "services": ["kv"],
        "version": _version(visit),
        "os": sys.platform,
    }
    found = (shared.buckets.get(name) for name in buckets.names(shared, visit.user))
    names = [{"bucketName": bucket.name, "uuid": bucket.uuid} for bucket in found if bucket is not None]
    return reply({"name": "default", "nodes": [node], "bucketNames": names, "buckets": {"uri": f"{_POOL}/buckets"}})


def _version(visit: Visit) -> str:
    """Return our own version in the form of Couchbase's, which SDKs take apart: ``X.Y.Z-BUILD-EDITION``."""
    return f"{visit.shared.version.replace('-', '.')}-0000-triospool"
