"""The manifest of a bucket: its scopes and their collections.

The manifest is stored as JSON, in the form in which clients get and set it. Its uid grows with each change. The ids of scopes and
collections are never used again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from ..._formats import Collection, Scope, encode_manifest
from ..settings import ServiceError

DEFAULT_SCOPE: Final = "_default"
# Couchbase's own limit for a cluster was 1,000 collections; each costs a walk over the manifest when it changes.
_MAX_COLLECTIONS: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}")


class ManifestError(ServiceError, ValueError):
    """A manifest can't be used. The message says why."""


class ManifestChangeError(ManifestError):
    """A manifest can't follow the one in use."""


class StillRemovingError(ManifestChangeError):
    """A manifest can't be used yet: it has the id of a dropped collection whose items are still being removed."""


@attrs.frozen
class Manifest:
    """The scopes and collections of a bucket."""

    uid: int = 0
    scopes: tuple[Scope, ...] = (Scope(0, DEFAULT_SCOPE, (Collection(0, DEFAULT_SCOPE),)),)

    def __iter__(self) -> Iterator[tuple[Scope, Collection]]:
        """Iterate over the collections, each with its scope."""
        return ((scope, collection) for scope in self.scopes for collection in scope.collections)

    def by_id(self) -> dict[int, Collection]:
        """Return the collections by their ids."""
        return {collection.id: collection for _, collection in self}

    def scope(self, name: str) -> Scope | None:
        """Return the scope of a name, or None. An empty name stands for the default scope."""
        return next((scope for scope in self.scopes if scope.name == (name or DEFAULT_SCOPE)), None)

    def collection(self, path: str) -> Collection | None:
        """Return the collection of a path ``scope.collection``, or None. An empty or missing name stands for the default one."""
        scope_name, _, name = path.partition(".")
        scope = self.scope(scope_name)
        if scope is None:
            return None
        return next((collection for collection in scope.collections if collection.name == (name or DEFAULT_SCOPE)), None)

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return encode_manifest(self.uid, self.scopes)


def parse_manifest(text: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        ManifestError: The text is not a manifest, or not one that can be used.
    """
    try:
        content = json.loads(text)
        scopes = tuple(_scope(scope) for scope in content["scopes"])
        manifest = Manifest(_number(content["uid"]), scopes)
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ManifestError("the value is not a manifest of collections: JSON with uid, scopes and their collections") from None
    _check(manifest)
    return manifest


def _number(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"(0x)?[0-9A-Fa-f]{1,8}", text):
        raise ManifestError(f"a uid is a hexadecimal number in a string, of 1 to 8 digits; got {text!r:.40}")
    return int(text, 16)


def _scope(content: dict[str, Any]) -> Scope:
    collections = tuple(_collection(collection) for collection in content["collections"])
    return Scope(_number(content["uid"]), _name(content["name"]), collections)


def _collection(content: dict[str, Any]) -> Collection:
    ttl = content.get("maxTTL", 0)
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 <= ttl < 1 << 31:
        raise ManifestError(f"maxTTL is a whole number of seconds from 0 to {(1 << 31) - 1}; got {ttl!r:.40}")
    return Collection(_number(content["uid"]), _name(content["name"]), ttl)


def _name(name: Any) -> str:
    if name != DEFAULT_SCOPE and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise ManifestError(
            f"{name!r:.80} can't be the name of a scope or collection: a name is 1 to 251 of A-Z a-z 0-9 _ - %, "
            "and begins with neither _ nor %"
        )
    return str(name)


def _check(manifest: Manifest) -> None:
    scopes = [scope.name for scope in manifest.scopes]
    ids = [collection.id for _, collection in manifest]
    if len(ids) > _MAX_COLLECTIONS:
        raise ManifestError(f"the manifest has {len(ids)} collections; the limit is {_MAX_COLLECTIONS}")
    scope_ids = [scope.id for scope in manifest.scopes]
    if len(set(ids)) != len(ids) or len(set(scope_ids)) != len(scope_ids) or len(set(scopes)) != len(scopes):
        raise ManifestError("the manifest has a scope's name, or a uid, twice")
    for scope in manifest.scopes:
        names = [collection.name for collection in scope.collections]
        if len(set(names)) != len(names):
            raise ManifestError(f"the scope {scope.name} has two collections of one name")
        if (scope.id == 0) != (scope.name == DEFAULT_SCOPE):
            raise ManifestError("the scope _default, and no other, must have the uid 0")
    default = manifest.collection(DEFAULT_SCOPE)
    if default is None or default.id != 0:
        raise ManifestError("the collection _default._default can't be dropped, and must have the uid 0")


def check_change(old: Manifest, new: Manifest) -> None:
    """Check that a manifest may follow another.

    Raises:
        ManifestChangeError: The new manifest is not newer, or uses the id of another collection.
    """
    if new.uid < old.uid or (new.uid == old.uid and new != old):
        raise ManifestChangeError(
            f"the manifest has the uid {new.uid:x}; it must be above {old.uid:x}, that of the manifest in use"
        )
    known = {collection.id: (scope.id, collection.name) for scope, collection in old}
    for scope, collection in new:
        if known.get(collection.id, (scope.id, collection.name)) != (scope.id, collection.name):
            raise ManifestChangeError(f"the uid {collection.id:x} belongs to another collection")
