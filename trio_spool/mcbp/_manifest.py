"""Scopes and collections, and the manifest that lists them.

As JSON::

    {"uid": hexadecimal, "scopes": [{"name": text, "uid": hexadecimal, "collections": [
        {"name": text, "uid": hexadecimal, "maxTTL": seconds}]}]}

where a collection without ``maxTTL`` has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs


@attrs.frozen
class Collection:
    """A collection.

    Attributes:
        id: What its keys begin with.
        name: Its name.
        max_ttl: Seconds after which what is stored there expires at the latest; 0 for never.
    """

    id: int
    name: str
    max_ttl: int = 0


@attrs.frozen
class Scope:
    """A scope, and its collections."""

    id: int
    name: str
    collections: tuple[Collection, ...] = ()


def encode_manifest(uid: int, scopes: Iterable[Scope]) -> bytes:
    """Encode a manifest."""
    encoded = []
    for scope in scopes:
        collections = [
            {"name": one.name, "uid": f"{one.id:x}"} | ({"maxTTL": one.max_ttl} if one.max_ttl else {}) for one in scope.collections
        ]
        encoded.append({"name": scope.name, "uid": f"{scope.id:x}", "collections": collections})
    return json.dumps({"uid": f"{uid:x}", "scopes": encoded}).encode()
