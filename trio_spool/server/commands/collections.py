"""Scopes and collections: their ids. `Bucket.change_manifest` changes which there are."""

from __future__ import annotations

from ..data import Bucket
from .errors import InvalidRequestError, NoCollectionError, NoScopeError


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
