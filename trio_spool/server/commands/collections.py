"""Scopes and collections: their ids, and one change at a time. `Bucket.change_manifest` replaces the whole manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from ..._formats import Collection, Scope
from ...engine import Problem
from ..data import Bucket, Manifest
from .errors import ExistsError, InvalidRequestError, NoCollectionError, NoScopeError, UnavailableError

# The lowest id of a scope or collection that a request makes: Couchbase reserves those below.
_FIRST_ID: Final = 8


def collection_id(bucket: Bucket, path: str) -> tuple[int, int]:
    """Return the uid of the manifest, and the id of the collection with the path ``scope.collection``.

    Raises:
        InvalidRequestError: The path has not exactly one dot.
        NoScopeError: There is no such scope.
        NoCollectionError: The scope has no such collection.
    """
    if path.count(".") != 1:
        raise InvalidRequestError(f"a collection is named scope.collection; got {path!r:.120}")
    manifest = bucket.manifest
    collection = manifest.collection(path)
    if collection is not None:
        return manifest.uid, collection.id
    if manifest.scope(path.partition(".")[0]) is None:
        raise NoScopeError(f"no scope is named {path.partition('.')[0]!r:.120}")
    raise NoCollectionError(f"no collection is named {path!r:.120}")


def scope_id(bucket: Bucket, path: str) -> tuple[int, int]:
    """Return the uid of the manifest, and the id of the scope of a path, which may name a collection as well.

    Raises:
        NoScopeError: There is no such scope.
    """
    name = path.partition(".")[0]
    scope = bucket.manifest.scope(name)
    if scope is None:
        raise NoScopeError(f"no scope is named {name!r:.120}")
    return bucket.manifest.uid, scope.id


async def create_scope(bucket: Bucket, name: str) -> int:
    """Create a scope, and return the uid of the manifest that has it.

    Raises:
        ExistsError: The scope exists.
        ManifestError: The name can't be used.
        UnavailableError: The change could not be stored.
    """
    return await _change(bucket, partial(_with_scope, name=name))


async def drop_scope(bucket: Bucket, name: str) -> int:
    """Drop a scope with its collections, and return the uid of the manifest without it.

    Raises:
        NoScopeError: There is no such scope.
        ManifestError: It is the default scope.
        UnavailableError: The change could not be stored.
    """
    return await _change(bucket, partial(_with_collections, name=name, change=lambda scope: None))


async def create_collection(bucket: Bucket, scope: str, name: str, max_ttl: int = 0) -> int:
    """Create a collection, and return the uid of the manifest that has it.

    Raises:
        NoScopeError: There is no such scope.
        ExistsError: The collection exists.
        ManifestError: The name or the time to live can't be used.
        UnavailableError: The change could not be stored.
    """

    def add(old: Scope, number: int) -> Scope:
        if any(each.name == name for each in old.collections):
            raise ExistsError(f"the collection {scope}.{name} exists already")
        return attrs.evolve(old, collections=(*old.collections, Collection(number, name, max_ttl)))

    return await _change(bucket, lambda manifest: _with_collections(manifest, scope, lambda old: add(old, _new_id(manifest))))


async def change_collection(bucket: Bucket, scope: str, name: str, max_ttl: int) -> int:
    """Give a collection another maximum time to live, and return the uid of the manifest. Documents keep the expiry they have.

    Raises:
        NoScopeError: There is no such scope.
        NoCollectionError: The scope has no such collection.
        ManifestError: The time to live can't be used.
        UnavailableError: The change could not be stored.
    """
    return await _change_collection(bucket, scope, name, lambda old: attrs.evolve(old, max_ttl=max_ttl))


async def drop_collection(bucket: Bucket, scope: str, name: str) -> int:
    """Drop a collection with its documents, and return the uid of the manifest without it.

    Raises:
        NoScopeError: There is no such scope.
        NoCollectionError: The scope has no such collection.
        ManifestError: It is the default collection.
        UnavailableError: The change could not be stored.
    """
    return await _change_collection(bucket, scope, name, lambda old: None)


async def _change_collection(bucket: Bucket, scope: str, name: str, change: Callable[[Collection], Collection | None]) -> int:
    def changed(old: Scope) -> Scope:
        if not any(each.name == name for each in old.collections):
            raise NoCollectionError(f"no collection is named {scope}.{name:.120}")
        new = ((change(each) if each.name == name else each) for each in old.collections)
        return attrs.evolve(old, collections=tuple(each for each in new if each is not None))

    return await _change(bucket, lambda manifest: _with_collections(manifest, scope, changed))


async def _change(bucket: Bucket, edit: Callable[[Manifest], Manifest]) -> int:
    problem = await bucket.edit_manifest(edit)
    if problem is not None:
        reason = "the disk is full" if problem is Problem.NO_SPACE else "see the service's log"
        raise UnavailableError(f"the change of collections could not be stored: {reason}")
    return bucket.manifest.uid


def _with_scope(manifest: Manifest, name: str) -> Manifest:
    if any(scope.name == name for scope in manifest.scopes):
        raise ExistsError(f"the scope {name} exists already")
    return Manifest(_next_uid(manifest), (*manifest.scopes, Scope(_new_id(manifest), name)))


def _with_collections(manifest: Manifest, name: str, change: Callable[[Scope], Scope | None]) -> Manifest:
    """Return a manifest in which a scope is another one, or is no more."""
    if not any(scope.name == name for scope in manifest.scopes):
        raise NoScopeError(f"no scope is named {name!r:.120}")
    new = ((change(scope) if scope.name == name else scope) for scope in manifest.scopes)
    return Manifest(_next_uid(manifest), tuple(scope for scope in new if scope is not None))


def _next_uid(manifest: Manifest) -> int:
    """Return the uid of the next manifest. New ids are made from it, so it is high enough that no id is ever used again."""
    ids = [scope.id for scope in manifest.scopes] + [collection.id for _, collection in manifest]
    return max(manifest.uid + 1, max(ids, default=0) - _FIRST_ID + 1)


def _new_id(manifest: Manifest) -> int:
    return _FIRST_ID + _next_uid(manifest)
