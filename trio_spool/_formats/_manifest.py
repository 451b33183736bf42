"""Scopes and collections, and the manifest that lists them.

As JSON::

    {"uid": hexadecimal, "scopes": [{"name": text, "uid": hexadecimal, "collections": [
        {"name": text, "uid": hexadecimal, "maxTTL": seconds}]}]}

A collection without ``maxTTL`` has no maximum time to live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs


@attrs.frozen
class Collection:
    """A collection.

    Attributes:
        id: The id, with which its keys begin on the wire.
        name: The name.
        max_ttl: The number of seconds after which its documents expire at the latest, or 0 for no such limit.
    """

    id: int
    name: str
    max_ttl: int = 0


@attrs.frozen
class Scope:
    """A scope and its collections."""

    id: int
    name: str
    collections: tuple[Collection, ...] = ()


def encode_manifest(uid: int, scopes: Iterable[Scope]) -> bytes:
    """Encode a manifest as JSON.

    Args:
        uid: The number of the manifest, which grows with each change.
        scopes: All scopes of the bucket, with their collections.
    """
    encoded = []
    for scope in scopes:
        collections = [
            {"name": one.name, "uid": f"{one.id:x}"} | ({"maxTTL": one.max_ttl} if one.max_ttl else {}) for one in scope.collections
        ]
        encoded.append({"name": scope.name, "uid": f"{scope.id:x}", "collections": collections})
    return json.dumps({"uid": f"{uid:x}", "scopes": encoded}).encode()
