"""The settings of a bucket, as Couchbase's forms have them.

Of a setting that changes what clients can rely on, only the value that holds here is accepted: whoever asks for replicas is told
that there are none, rather than left to believe in them. A setting that only hints at how a node does its work is accepted, and
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..settings import Settings

# What holds here, and what is said of everything else.
_ONLY: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "replicaNumber": (frozenset({"0"}), "this is a single server, without replicas: replicaNumber must be 0"),
    "maxTTL": (frozenset({"0"}), "a bucket has no maximum time to live here; give its collections one"),
    "durabilityMinLevel": (frozenset({"none"}), "a bucket has no minimum of durability here: --fsync holds for all mutations"),
    "conflictResolutionType": (
        frozenset({"seqno"}),
        "there is no replication between clusters: conflictResolutionType must be seqno",
    ),
    "historyRetentionSeconds": (frozenset({"0"}), "a history of documents is not available here"),
    "historyRetentionBytes": (frozenset({"0"}), "a history of documents is not available here"),
    "historyRetentionCollectionDefault": (frozenset({"false", "true"}), "it must be true or false"),
    "flushEnabled": (frozenset({"0", "1"}), "flushEnabled must be 0 or 1"),
}
# Without any effect, whatever the value.
_HINTS: Final = frozenset(
    {"evictionPolicy", "compressionMode", "storageBackend", "replicaIndex", "threadsNumber", "rank", "warmupBehavior",
     "parallelDBAndViewCompaction", "autoCompactionDefined", "memoryLowWatermark", "memoryHighWatermark"}
)  # fmt: skip
_MAX_QUOTA: Final = 1 << 40  # MiB; more would not fit in what SDKs read


def parse_bucket_form(form: Mapping[str, str], settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options that a form asks for, and what is wrong with its fields: a sentence for each."""
    wanted: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field, value in form.items():
        if problem := _problem(field, value, settings):
            errors[field] = problem
        elif field == "ramQuotaMB" and int(value):
            wanted["ram_quota"] = int(value)
        elif field == "flushEnabled":
            wanted["flush"] = value == "1"
        elif field == "bucketType":
            wanted["ephemeral"] = value == "ephemeral"
    return wanted, errors


def _problem(field: str, value: str, settings: Settings) -> str:
    if field in _ONLY:
        accepted, told = _ONLY[field]
        if value not in accepted:
            return f"{told}; got {value:.40}"
        if field == "flushEnabled" and value == "1" and settings.disable_flush:
            return "the server does not allow to flush buckets: it runs with --disable-flush"
        return ""
    if field == "ramQuotaMB":
        good = value.isascii() and value.isdigit() and len(value) <= 13 and int(value) <= _MAX_QUOTA
        return "" if good else f"ramQuotaMB is a whole number of MiB, at most {_MAX_QUOTA}; got {value:.40}"
    if field == "numVBuckets":
        same = value == str(settings.vbuckets)
        return "" if same else f"numVBuckets must be {settings.vbuckets}, as --vbuckets says for all buckets; got {value:.40}"
    if field == "bucketType":
        return _type_problem(value, memory=settings.data_dir is None)
    return "" if field in _HINTS else "this setting is not known here"


def _type_problem(value: str, *, memory: bool) -> str:
    if value in ("couchbase", "membase"):
        return ""  # also in memory: that is what the server was started for
    if value == "ephemeral":
        return "" if memory else "buckets of this server are on disk: bucketType must be couchbase, or run it with --engine memory"
    return f"a bucket of the type {value:.40} is not available here: bucketType must be couchbase"
