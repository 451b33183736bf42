"""Scopes and collections: GET and SET_COLLECTIONS_MANIFEST, GET_COLLECTION_ID, GET_SCOPE_ID."""

from __future__ import annotations

import struct
from typing import Final

from ....mcbp import DataType, KeyRule, Opcode, Request, shape
from ...commands import collections
from ...conversation import ADMIN_OF_BUCKET, ANYBODY_IN_BUCKET
from ...data import Manifest, ManifestError, parse_manifest
from ._exchange import BinaryContext, BinaryExchange
from ._problems import STATUS_OF
from ._row import Command

_IDENTITY = struct.Struct(">QL")
# The maximum bytes of a manifest, which is parsed on the event loop: some 10 ms, measured. Couchbase's 1,000 collections with the
# longest names have 400 kB.
_MAX_MANIFEST: Final = 1024 * 1024


def get_manifest(exchange: BinaryExchange, request: Request) -> None:
    """Return the manifest of the scopes and collections, as JSON."""
    exchange.answer(request, value=exchange.bucket.manifest.to_json(), datatype=DataType.JSON)


def set_manifest(exchange: BinaryExchange, request: Request) -> None:
    """Replace the manifest of the scopes and collections.

    Value: the manifest, JSON, with a uid above that of the one in use.
    """
    if len(request.value) > _MAX_MANIFEST:
        raise ManifestError(f"a manifest has at most {_MAX_MANIFEST} bytes, not {len(request.value)}")
    manifest = parse_manifest(request.value)
    exchange.later(lambda context: _set(context, manifest))


async def _set(context: BinaryContext, manifest: Manifest) -> None:
    problem = await context.bucket.change_manifest(manifest)
    if problem is not None:
        await context.error(STATUS_OF[problem])
    else:
        await context.reply(context.encode())


def _path(request: Request) -> str:
    return (request.value or request.key).decode("utf-8", "replace")


def get_collection_id(exchange: BinaryExchange, request: Request) -> None:
    """Return the id of a collection.

    Value: ``scope.collection``. Reply's extras: the manifest's uid u64, the collection's id u32.
    """
    exchange.answer(request, extras=_IDENTITY.pack(*collections.collection_id(exchange.bucket, _path(request))))


def get_scope_id(exchange: BinaryExchange, request: Request) -> None:
    """Return the id of a scope.

    Value: the name of the scope, or ``scope.collection``. Reply's extras: the manifest's uid u64, the scope's id u32.
    """
    exchange.answer(request, extras=_IDENTITY.pack(*collections.scope_id(exchange.bucket, _path(request))))


_NAMING: Final = shape(0, key=KeyRule.OPTIONAL, value=True)
COMMANDS: Final = (
    Command(Opcode.SET_COLLECTIONS_MANIFEST, shape(0, value=True), set_manifest, ADMIN_OF_BUCKET),
    Command(Opcode.GET_COLLECTIONS_MANIFEST, shape(0), get_manifest, ANYBODY_IN_BUCKET),
    Command(Opcode.GET_COLLECTION_ID, _NAMING, get_collection_id, ANYBODY_IN_BUCKET),
    Command(Opcode.GET_SCOPE_ID, _NAMING, get_scope_id, ANYBODY_IN_BUCKET),
)
