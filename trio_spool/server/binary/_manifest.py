"""Scopes and collections: GET and SET_COLLECTIONS_MANIFEST, GET_COLLECTION_ID, GET_SCOPE_ID."""

from __future__ import annotations

import struct

from ...engine import Problem
from ...mcbp import DataType, Request, Status
from .._collections import Manifest, ManifestError, StillRemovingError, parse_manifest
from .._exchange import Exchange
from .._jobs import Answer
from ._problems import STATUS_OF

_IDENTITY = struct.Struct(">QL")


def get_manifest(exchange: Exchange, request: Request) -> None:
    """Reply with the manifest, JSON."""
    exchange.answer(request, value=exchange.bucket.manifest.to_json(), datatype=DataType.JSON)


def set_manifest(exchange: Exchange, request: Request) -> None:
    """Value: the manifest, JSON, with a uid above that of the one in use."""
    try:
        manifest = parse_manifest(request.value)
    except ManifestError as exc:
        exchange.error(request, Status.INVALID, str(exc))
        return
    exchange.later(lambda answer: _set(answer, manifest))


async def _set(answer: Answer, manifest: Manifest) -> None:
    problem: Problem | None = None
    try:
        problem = await answer.bucket.change_manifest(manifest)
    except ManifestError as exc:
        later = isinstance(exc, StillRemovingError)
        await answer.error(Status.TEMPORARY_FAILURE if later else Status.RANGE_ERROR, str(exc))
        return
    if problem is not None:
        await answer.error(STATUS_OF[problem])
    else:
        await answer.reply(answer.encode())


def _asked(request: Request) -> str:
    return (request.value or request.key).decode("utf-8", "replace")


def get_collection_id(exchange: Exchange, request: Request) -> None:
    """Value: ``scope.collection``. Reply's extras: the manifest's uid u64, the collection's id u32."""
    path = _asked(request)
    manifest = exchange.bucket.manifest
    if path.count(".") != 1:
        exchange.error(request, Status.INVALID, f"a collection is named scope.collection, not {path!r:.120}")
        return
    collection = manifest.collection(path)
    if collection is not None:
        exchange.answer(request, extras=_IDENTITY.pack(manifest.uid, collection.id))
    elif manifest.scope(path.partition(".")[0]) is None:
        _missing(exchange, request, Status.UNKNOWN_SCOPE)
    else:
        _missing(exchange, request, Status.UNKNOWN_COLLECTION)


def get_scope_id(exchange: Exchange, request: Request) -> None:
    """Value: the scope's name, or ``scope.collection``. Reply's extras: the manifest's uid u64, the scope's id u32."""
    manifest = exchange.bucket.manifest
    scope = manifest.scope(_asked(request).partition(".")[0])
    if scope is None:
        _missing(exchange, request, Status.UNKNOWN_SCOPE)
    else:
        exchange.answer(request, extras=_IDENTITY.pack(manifest.uid, scope.id))


def _missing(exchange: Exchange, request: Request, status: Status) -> None:
    exchange.error(request, status, f"there is none of the name {_asked(request)!r:.120}")
