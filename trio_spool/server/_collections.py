"""The manifest of a bucket: its scopes, and their collections.

It is stored as JSON, as clients get it and set it. Its uid grows with each change. The ids of scopes and collections are not used
again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from ..mcbp import Collection, Scope, encode_manifest

DEFAULT: Final = "_default"
_MOST_COLLECTIONS: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}")


class ManifestError(ValueError):
    """A manifest can't be used. The message says why."""


class StillRemovingError(ManifestError):
    """A manifest can't be used yet: it has the id of a collection that was dropped, and of which there is something left."""


@attrs.frozen
class Manifest:
    """The scopes and collections of a bucket."""

    uid: int = 0
    scopes: tuple[Scope, ...] = (Scope(0, DEFAULT, (Collection(0, DEFAULT),)),)

    def __iter__(self) -> Iterator[tuple[Scope, Collection]]:
        """Iterate over the collections, with their scopes."""
        return ((scope, collection) for scope in self.scopes for collection in scope.collections)

    def by_id(self) -> dict[int, Collection]:
        """Return the collections by their ids."""
        return {collection.id: collection for _, collection in self}

    def scope(self, name: str) -> Scope | None:
        """Return a scope by its name; an empty name stands for the default one."""
        return next((scope for scope in self.scopes if scope.name == (name or DEFAULT)), None)

    def collection(self, path: str) -> Collection | None:
        """Return a collection by ``scope.collection``, where an empty name, or none, stands for the default one."""
        scope_name, _, name = path.partition(".")
        scope = self.scope(scope_name)
        if scope is None:
            return None
        return next((collection for collection in scope.collections if collection.name == (name or DEFAULT)), None)

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return encode_manifest(self.uid, self.scopes)


def parse_manifest(text: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        ManifestError: It is not one, or it can't be used.
    """
    try:
        content = json.loads(text)
        scopes = tuple(_scope(scope) for scope in content["scopes"])
        manifest = Manifest(_number(content["uid"]), scopes)
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ManifestError("this is not a manifest of collections") from None
    _check(manifest)
    return manifest


def _number(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"(0x)?[0-9A-Fa-f]{1,8}", text):
        raise ManifestError(f"a uid is a hexadecimal number as text, not {text!r:.40}")
    return int(text, 16)


def _scope(content: dict[str, Any]) -> Scope:
    collections = tuple(_collection(collection) for collection in content["collections"])
    return Scope(_number(content["uid"]), _name(content["name"]), collections)


def _collection(content: dict[str, Any]) -> Collection:
    ttl = content.get("maxTTL", 0)
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 <= ttl < 1 << 31:
        raise ManifestError(f"maxTTL is a number of seconds, not {ttl!r:.40}")
    return Collection(_number(content["uid"]), _name(content["name"]), ttl)


def _name(name: Any) -> str:
    if name != DEFAULT and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise ManifestError(
            f"{name!r:.80} can't be the name of a scope or collection: 1 to 251 of A-Z a-z 0-9 _ - %, the first neither _ nor %"
        )
    return str(name)


def _check(manifest: Manifest) -> None:
    scopes = [scope.name for scope in manifest.scopes]
    ids = [collection.id for _, collection in manifest]
    if len(ids) > _MOST_COLLECTIONS:
        raise ManifestError(f"{len(ids)} collections; the most are {_MOST_COLLECTIONS}")
    scope_ids = [scope.id for scope in manifest.scopes]
    if len(set(ids)) != len(ids) or len(set(scope_ids)) != len(scope_ids) or len(set(scopes)) != len(scopes):
        raise ManifestError("a name or a uid is used twice")
    for scope in manifest.scopes:
        names = [collection.name for collection in scope.collections]
        if len(set(names)) != len(names):
            raise ManifestError(f"the scope {scope.name} has a collection twice")
        if (scope.id == 0) != (scope.name == DEFAULT):
            raise ManifestError("the scope _default, and only that, has the uid 0")
    default = manifest.collection(DEFAULT)
    if default is None or default.id != 0:
        raise ManifestError("the collection _default._default has to stay, with the uid 0")


def check_change(old: Manifest, new: Manifest) -> None:
    """Look whether a manifest may follow another.

    Raises:
        ManifestError: It may not: it is older, or gives a name the id of something else.
    """
    if new.uid < old.uid or (new.uid == old.uid and new != old):
        raise ManifestError(f"its uid is {new.uid:x}, and must be above that of the manifest that is in use, {old.uid:x}")
    known = {collection.id: (scope.id, collection.name) for scope, collection in old}
    for scope, collection in new:
        if known.get(collection.id, (scope.id, collection.name)) != (scope.id, collection.name):
            raise ManifestError(f"the uid {collection.id:x} belongs to another collection")
