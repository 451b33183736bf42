"""The cluster's configuration, as clients get it: one node, which has everything."""

from __future__ import annotations

import json
from typing import Final

from ._buckets import Bucket
from ._session import Door

_CAPABILITIES: Final = (
    "cccp", "cbhello", "collections", "durableWrite", "nodesExt", "rangeScan", "touch", "xattr", "xdcrCheckpointing",
)  # fmt: skip


def cluster_config(door: Door, plain_port: int, tls_port: int, epoch: int, bucket: Bucket | None) -> bytes:
    """Return the configuration as JSON.

    The node has no host name: clients take the one they connected to. There is no management port: clients would probe it.

    Args:
        door: How the client came in: it is told to come in there again.
        plain_port: A port without encryption; 0 for none.
        tls_port: A port with it; 0 for none.
        epoch: When the service started: a later one replaces what a client knows of an earlier one.
        bucket: The bucket that the client has selected; None for the cluster's own configuration.
    """
    services = {}
    if plain := plain_port if door.tls else door.port or plain_port:
        services["kv"] = plain
    if tls := door.port if door.tls else tls_port:
        services["kvSSL"] = tls
    config: dict[str, object] = {
        "rev": 1 if bucket is None else 1 + bucket.manifest.uid,
        "revEpoch": epoch,
        "nodesExt": [{"services": services, "thisNode": True}],
        "clusterCapabilitiesVer": [1, 0],
        "clusterCapabilities": {},
    }
    if bucket is not None:
        config |= {
            "name": bucket.name,
            "uuid": bucket.uuid,
            "nodeLocator": "vbucket",
            "collectionsManifestUid": f"{bucket.manifest.uid:x}",
            "bucketCapabilitiesVer": "",
            "bucketCapabilities": list(_CAPABILITIES),
            "nodes": [{"hostname": f"$HOST:{services.get('kv', 0)}", "ports": {"direct": services.get("kv", 0)}}],
            "vBucketServerMap": {
                "hashAlgorithm": "CRC",
                "numReplicas": 0,
                "serverList": [f"$HOST:{services.get('kv', 0)}"],
                "vBucketMap": [[0]] * bucket.vbuckets,
            },
        }
    return json.dumps(config, separators=(",", ":")).encode()
