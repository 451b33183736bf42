"""The configuration of the cluster, as clients get it: one node, which has everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from ...data import Bucket

_CAPABILITIES: Final = (
    "cccp", "cbhello", "collections", "durableWrite", "nodesExt", "rangeScan", "subdoc.DocumentMacroSupport",
    "subdoc.ReplaceBodyWithXattr", "subdoc.ReplicaRead", "subdoc.ReviveDocument", "tombstonedUserXAttrs", "touch", "xattr",
    "xdcrCheckpointing",
)  # fmt: skip


def cluster_config(ports: Mapping[str, int], epoch: int, bucket: Bucket | None) -> bytes:
    """Return the configuration as JSON.

    The node has no host name: clients use the one that they connected to. A management port is named only to clients that can reach
    it; others would probe it for more than a minute.

    Clients leave the port that they connected to for the one that is named here, so behind a port mapping it is the outside port.
    With that, and without alternate addresses, Couchbase's SDKs connect whatever ``network=`` says.

    Args:
        ports: The ports at which the client reaches the service, by the names that the configuration has for them: ``kv`` and
            ``mgmt``, with ``SSL`` behind them for those with encryption. 0 for none.
        epoch: When the service began. Clients let a later configuration replace an earlier one.
        bucket: The bucket that the client has selected; None for the configuration of the cluster itself.
    """
    services = {name: port for name, port in ports.items() if port}
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
