"""What is not here: other services of Couchbase, and parts of its management. Asking for it fails at once, and says why.

No answer stands in for them. Frameworks take an empty answer of a query service for "there are no documents", and lose data.
"""

from __future__ import annotations

from typing import Final

_NO_QUERIES: Final = "there is no query service here, and no index: read documents by their keys, or scan a collection"
_USERS: Final = "users are managed by the commands trio-spool user, in the file of --users"

# By how a path begins; the first that fits counts.
_TOLD: Final = (
    ("/query", _NO_QUERIES),
    ("/admin", _NO_QUERIES),
    ("/api/v1/functions", "there is no eventing service here"),
    ("/api", "there is no search service here"),
    ("/analytics", "there is no analytics service here"),
    ("/settings/rbac", _USERS),
    ("/controller/changePassword", _USERS),
    ("/pools/default/buckets", "this request about a bucket is not available here"),
)


def told_of(path: str) -> str:
    """Return what somebody is told who asks for a path that is not here; an empty string if Couchbase has none, either."""
    if path.endswith("/ddocs") or "/_design/" in path:
        return "there are no views here"
    for prefix, told in _TOLD:
        if path == prefix or path.startswith(prefix + "/"):
            return told
    return (
        "this part of Couchbase's management is not available here"
        if path.startswith(("/pools", "/settings", "/controller"))
        else ""
    )
