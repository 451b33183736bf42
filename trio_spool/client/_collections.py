"""The scopes and collections of a bucket, as a client sees and changes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from .._formats import Collection, Scope, encode_manifest
from ..mcbp import Status
from ._errors import ConnectionLostError, ExistsError, UnknownCollectionError

# The lowest id of a scope or collection that a client makes: Couchbase reserves those below.
FIRST_ID = 8
# The maximum number of bytes of a manifest: picked, not measured. The thousand collections that a bucket here can have, with the
# longest names, need 0.6 MB.
_MAX_MANIFEST: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_%-]{1,251}")
_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]{1,16}")
_MAX_32: Final = 2**32 - 1


@attrs.frozen
class Collections:
    """The scopes and collections of a bucket.

    Attributes:
        uid: The number of the last change. It grows with each change, and a change based on an old one is refused.
        scopes: The scopes, with their collections.
    """

    uid: int
    scopes: tuple[Scope, ...]

    def __iter__(self) -> Iterator[tuple[Scope, Collection]]:
        """Iterate over pairs of a scope and a collection in it."""
        return ((scope, collection) for scope in self.scopes for collection in scope.collections)

    def find(self, path: str) -> Collection | None:
        """Return the collection with this path, which is ``scope.collection``, or None."""
        return next((collection for scope, collection in self if f"{scope.name}.{collection.name}" == path), None)

    def with_collection(self, path: str, max_ttl: int = 0) -> Collections:
        """Return these collections with one more, and with its scope if that is missing.

        Args:
            path: The new collection, as ``scope.collection``.
            max_ttl: The number of seconds after which its documents expire at the latest, or 0 for no such limit.

        Raises:
            ExistsError: The collection exists already.
        """
        if self.find(path) is not None:
            raise ExistsError(f"the collection {path!r} exists already", Status.EXISTS)
        uid = self._next_uid()
        scope_name, _, name = path.partition(".")
        added = Collection(FIRST_ID + uid, name, max_ttl)
        scopes = list(self.scopes)
        if scope_name not in {scope.name for scope in scopes}:
            scopes.append(Scope(FIRST_ID + uid, scope_name))
        return Collections(
            uid,
            tuple(
                attrs.evolve(scope, collections=(*scope.collections, added)) if scope.name == scope_name else scope
                for scope in scopes
            ),
        )

    def without_collection(self, path: str, *, scope: bool = False) -> Collections:
        """Return these collections without one of them.

        Args:
            path: The collection, as ``scope.collection``.
            scope: Whether to leave out its scope as well, if that has no other collections.

        Raises:
            UnknownCollectionError: The collection does not exist.
        """
        if self.find(path) is None:
            raise UnknownCollectionError(f"no collection is named {path!r}", Status.UNKNOWN_COLLECTION)
        scope_name, _, name = path.partition(".")
        scopes = []
        for old in self.scopes:
            if old.name != scope_name:
                scopes.append(old)
            elif rest := tuple(one for one in old.collections if one.name != name):
                scopes.append(attrs.evolve(old, collections=rest))
            elif not scope:
                scopes.append(attrs.evolve(old, collections=()))
        return Collections(self._next_uid(), tuple(scopes))

    def without_scope(self, name: str) -> Collections:
        """Return these collections without a scope that has none.

        Raises:
            UnknownCollectionError: The scope does not exist.
            ExistsError: The scope has collections.
        """
        found = next((scope for scope in self.scopes if scope.name == name), None)
        if found is None:
            raise UnknownCollectionError(f"no scope is named {name!r}", Status.UNKNOWN_SCOPE)
        if found.collections:
            names = ", ".join(f"{name}.{collection.name}" for collection in found.collections)
            raise ExistsError(f"the scope {name!r} has collections: drop {names} first", Status.EXISTS)
        return Collections(self._next_uid(), tuple(scope for scope in self.scopes if scope is not found))

    def _next_uid(self) -> int:
        """Return the uid of the next change.

        The ids of new scopes and collections are made from it, so it is high enough that no id is ever used again.
        """
        ids = [scope.id for scope in self.scopes] + [collection.id for _, collection in self]
        return max(self.uid + 1, max(ids, default=0) - FIRST_ID + 1)

    def to_json(self) -> bytes:
        """Return the JSON that SET_COLLECTIONS_MANIFEST takes."""
        return encode_manifest(self.uid, self.scopes)


def parse_collections(text: bytes) -> Collections:
    """Parse the JSON with which a server answers GET_COLLECTIONS_MANIFEST.

    Raises:
        ConnectionLostError: The text is not such a manifest.
    """
    try:
        if len(text) > _MAX_MANIFEST:
            raise ValueError
        content = json.loads(text)
        found = Collections(_parse_number(content["uid"]), tuple(_parse_scope(scope) for scope in content["scopes"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConnectionLostError(f"the server sent something other than a manifest of collections: {text[:200]!r}") from None
    paths = [scope.name for scope in found.scopes] + [f"{scope.name}.{collection.name}" for scope, collection in found]
    if len(set(paths)) != len(paths):
        raise ConnectionLostError("the server sent a manifest that has a scope or a collection twice")
    return found


def _parse_scope(scope: dict[str, Any]) -> Scope:
    collections = tuple(_parse_collection(one) for one in scope["collections"])
    return Scope(_parse_number(scope["uid"], _MAX_32), _parse_name(scope["name"]), collections)


def _parse_collection(one: dict[str, Any]) -> Collection:
    max_ttl = one.get("maxTTL", 0)
    if type(max_ttl) is not int or not 0 <= max_ttl <= _MAX_32:
        raise ValueError
    return Collection(_parse_number(one["uid"], _MAX_32), _parse_name(one["name"]), max_ttl)


def _parse_number(text: str, maximum: int = 2**64 - 1) -> int:
    if not _HEXADECIMAL.fullmatch(text) or int(text, 16) > maximum:
        raise ValueError
    return int(text, 16)


def _parse_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError
    return name
