"""The configuration of the cluster, as clients get it: one node, which has everything."""

from __future__ import annotations

import json
from typing import Final

from ...data import Bucket
from ...shared import Listener

_CAPABILITIES: Final = (
    "cccp", "cbhello", "collections", "durableWrite", "nodesExt", "rangeScan", "touch", "xattr", "xdcrCheckpointing",
)  # fmt: skip


def cluster_config(listener: Listener, plain_port: int, tls_port: int, epoch: int, bucket: Bucket | None) -> bytes:
    """Return the configuration as JSON.

    The node has no host name: clients use the one that they connected to. There is no management port, which clients would probe.

    Args:
        listener: How the client came in; it is told to use the same port again.
        plain_port: A port without encryption; 0 for none.
        tls_port: A port with encryption; 0 for none.
        epoch: When the service began. Clients let a later configuration replace an earlier one.
        bucket: The bucket that the client has selected; None for the configuration of the cluster itself.
    """
    services = {}
    if plain := plain_port if listener.tls else listener.port or plain_port:
        services["kv"] = plain
    if tls := listener.port if listener.tls else tls_port:
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
