"""Scopes and collections. SDKs find out what went wrong by Couchbase's own sentences, so these are used here."""

from __future__ import annotations

from typing import Final

from ..commands import collections
from ..commands.errors import ExistsError, NoCollectionError, NoScopeError
from ..data import DEFAULT_SCOPE, ManifestError, StillRemovingError
from ..http import Response
from ._visits import Visit, refuse, reply

# Couchbase's value for "no limit, whatever the bucket's is". Buckets have no limit here, so it means the same as 0.
_NEVER: Final = -1
# As in a manifest.
_MAX_TTL: Final = (1 << 31) - 1


async def list_scopes(visit: Visit) -> Response:
    """Return the manifest."""
    return Response(body=visit.bucket.manifest.to_json(), content_type="application/json", compress=True)


async def create_scope(visit: Visit) -> Response:
    """Create a scope: ``name``."""
    name = visit.form().get("name", "")
    try:
        return _changed(await collections.create_scope(visit.bucket, name))
    except ExistsError:
        return refuse(400, f'Scope with name "{name}" already exists')
    except ManifestError as exc:
        return _unusable("name", exc)


async def drop_scope(visit: Visit) -> Response:
    """Drop a scope with its collections."""
    _, scope = visit.names
    if scope == DEFAULT_SCOPE:
        return refuse(400, "Deleting _default scope is not allowed")
    try:
        return _changed(await collections.drop_scope(visit.bucket, scope))
    except NoScopeError:
        return _no_scope(scope)


async def create_collection(visit: Visit) -> Response:
    """Create a collection: ``name``, ``maxTTL`` in seconds."""
    form, (_, scope) = visit.form(), visit.names
    name, max_ttl = form.get("name", ""), _max_ttl(form)
    if isinstance(max_ttl, Response):
        return max_ttl
    if _wants_history(form):
        return _NO_HISTORY
    try:
        return _changed(await collections.create_collection(visit.bucket, scope, name, max_ttl or 0))
    except NoScopeError:
        return _no_scope(scope)
    except ExistsError:
        return refuse(400, f'Collection with name "{name}" in scope "{scope}" already exists')
    except ManifestError as exc:
        return _unusable("name", exc)


async def change_collection(visit: Visit) -> Response:
    """Change a collection: ``maxTTL``."""
    form, (_, scope, name) = visit.form(), visit.names
    max_ttl = _max_ttl(form)
    if isinstance(max_ttl, Response):
        return max_ttl
    if _wants_history(form):
        return _NO_HISTORY
    try:
        if max_ttl is None:
            uid, _ = collections.collection_id(visit.bucket, f"{scope}.{name}")
        else:
            uid = await collections.change_collection(visit.bucket, scope, name, max_ttl)
        return _changed(uid)
    except NoScopeError:
        return _no_scope(scope)
    except NoCollectionError:
        return _no_collection(scope, name)
    except ManifestError as exc:
        return _unusable("maxTTL", exc)


async def drop_collection(visit: Visit) -> Response:
    """Drop a collection with its documents."""
    _, scope, name = visit.names
    try:
        return _changed(await collections.drop_collection(visit.bucket, scope, name))
    except NoScopeError:
        return _no_scope(scope)
    except NoCollectionError:
        return _no_collection(scope, name)
    except ManifestError as exc:
        return _unusable("_", exc)


async def ensure_manifest(visit: Visit) -> Response:
    """Wait until every node has a manifest of a uid, in hexadecimal, or a later one. One node has it, or never will."""
    _, text = visit.names
    try:
        wanted = int(text, 16)
    except ValueError:
        return refuse(400, f"the uid of a manifest is a hexadecimal number; got {text!r:.60}")
    if wanted > visit.bucket.manifest.uid:
        return refuse(504, f"the manifest has the uid {visit.bucket.manifest.uid:x}, and no change is under way")
    return reply({})


_NO_HISTORY: Final = refuse(400, {"history": "a history of documents is not available here"})


def _wants_history(form: dict[str, str]) -> bool:
    return form.get("history", "false") != "false"


def _max_ttl(form: dict[str, str]) -> int | Response | None:
    """Return the time to live that a form asks for; None if it does not; or a refusal."""
    text = form.get("maxTTL")
    if text is None:
        return None
    if text == str(_NEVER):
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > _MAX_TTL:
        return refuse(400, {"maxTTL": f"maxTTL is a whole number of seconds from 0 to {_MAX_TTL}, or -1; got {text!r:.40}"})
    return int(text)


def _changed(uid: int) -> Response:
    return reply({"uid": f"{uid:x}"})


def _no_scope(scope: str) -> Response:
    return refuse(404, f'Scope with name "{scope}" is not found')


def _no_collection(scope: str, name: str) -> Response:
    return refuse(404, f'Collection with name "{name}" in scope "{scope}" is not found')


def _unusable(field: str, error: ManifestError) -> Response:
    return refuse(503 if isinstance(error, StillRemovingError) else 400, {field: str(error)})
