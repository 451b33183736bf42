"""Which page answers a request, and who may see it: one row a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from ...auth import Role, User
from ...engine import EngineError
from ..commands.buckets import selectable
from ..commands.errors import NoAccessError, UnavailableError
from ..conversation import ADMIN, ADMIN_OF_BUCKET, ANYBODY, ANYBODY_IN_BUCKET, FREE, Rule
from ..data import Bucket
from ..http import HttpError, Request, Response
from ..shared import EVERYTHING, Shared
from . import _buckets, _cluster, _collections
from ._absent import told_of
from ._logging_in import find_user
from ._visits import Visit, refuse

# In a pattern: any name.
NAME: Final = "*"

# Characters of a path that the log shows; the longest that fits has some 400.
_MAX_SHOWN: Final = 500

Page = Callable[[Visit], Awaitable[Response]]


@attrs.frozen
class Route:
    """A request that is answered.

    Attributes:
        method: The method.
        pattern: The parts of the path; `NAME` stands for any. If the rule needs a bucket, the first name is that of one.
        rule: Who may ask.
        page: Answers.
    """

    method: str
    pattern: tuple[str, ...]
    rule: Rule
    page: Page

    def match(self, segments: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the names in a path; None if it does not fit."""
        if len(segments) != len(self.pattern):
            return None
        names = []
        for wanted, found in zip(self.pattern, segments, strict=True):
            if wanted == NAME and found:
                names.append(found)
            elif wanted != found:
                return None
        return tuple(names)


_BUCKETS: Final = ("pools", "default", "buckets")
_BUCKET: Final = (*_BUCKETS, NAME)
_SCOPES: Final = (*_BUCKET, "scopes")
_COLLECTIONS: Final = (*_SCOPES, NAME, "collections")

ROUTES: Final = (
    Route("GET", ("",), FREE, _cluster.root),
    Route("GET", ("pools",), ANYBODY, _cluster.pools),
    Route("GET", ("pools", "default"), ANYBODY, _cluster.pool),
    Route("GET", _BUCKETS, ANYBODY, _buckets.list_buckets),
    Route("POST", _BUCKETS, ADMIN, _buckets.create_bucket),
    Route("GET", _BUCKET, ANYBODY_IN_BUCKET, _buckets.show_bucket),
    Route("POST", _BUCKET, ADMIN_OF_BUCKET, _buckets.change_bucket),
    Route("DELETE", _BUCKET, ADMIN, _buckets.delete_bucket),
    Route("POST", (*_BUCKET, "controller", "doFlush"), ADMIN_OF_BUCKET, _buckets.flush_bucket),
    Route("GET", _SCOPES, ANYBODY_IN_BUCKET, _collections.list_scopes),
    Route("POST", _SCOPES, ADMIN_OF_BUCKET, _collections.create_scope),
    Route("DELETE", (*_SCOPES, NAME), ADMIN_OF_BUCKET, _collections.drop_scope),
    Route("POST", (*_SCOPES, "@ensureManifest", NAME), ANYBODY_IN_BUCKET, _collections.ensure_manifest),
    Route("POST", _COLLECTIONS, ADMIN_OF_BUCKET, _collections.create_collection),
    Route("PATCH", (*_COLLECTIONS, NAME), ADMIN_OF_BUCKET, _collections.change_collection),
    Route("DELETE", (*_COLLECTIONS, NAME), ADMIN_OF_BUCKET, _collections.drop_collection),
)


class Management:
    """Answers requests of management.

    Args:
        shared: What all connections share.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        try:
            return await self._answer(request)
        except HttpError as exc:
            return attrs.evolve(refuse(exc.status, exc.told), headers=exc.headers)

    async def _answer(self, request: Request) -> Response:
        _refuse_browsers(request)
        route, names = _find(request)
        user = EVERYTHING if route.rule.before_login else await find_user(self._shared, request)
        visit = Visit(self._shared, request, user, names, self._enter(route, user, names))
        try:
            response = await route.page(visit)
        except (UnavailableError, EngineError) as exc:
            response = refuse(503, str(exc))
        if request.method != "GET":
            self._shared.log.info(
                "management",
                method=request.method,
                path=request.path[:_MAX_SHOWN],
                status=response.status,
                user=user.name,
                peer=request.client.peer,
            )
        return response

    def _enter(self, route: Route, user: User, names: tuple[str, ...]) -> Bucket | None:
        """Check that a user may make a request, and return the bucket that it is about, if its rule needs one."""
        rule, bucket = route.rule, None
        if rule.bucket:
            try:
                bucket = selectable(self._shared, user, names[0])
            except NoAccessError as exc:
                raise HttpError(404, str(exc)) from None
            except UnavailableError as exc:
                raise HttpError(503, str(exc)) from None
        if lacking := [role for role in rule.roles if not user.may(role, bucket.name if bucket is not None else None)]:
            raise HttpError(403, _lacks(user, lacking))
        return bucket


def _lacks(user: User, roles: list[Role]) -> str:
    return f"the user {user.name!r} lacks the role {' and '.join(role.value for role in roles)} here"


def _find(request: Request) -> tuple[Route, tuple[str, ...]]:
    segments, methods = request.segments, []
    for route in ROUTES:
        names = route.match(segments)
        if names is not None:
            if route.method == request.method:
                return route, names
            methods.append(route.method)
    if methods:
        allowed = ", ".join(methods)
        raise HttpError(405, f"this path takes {allowed}, not {request.method:.40}", (("Allow", allowed),))
    told = told_of(request.path)
    raise HttpError(501 if told else 404, told or "nothing is here")


def _refuse_browsers(request: Request) -> None:
    """Refuse requests of pages in a browser, which may be anybody's, while the browser is the user's own.

    Browsers name the origin of a page that changes something, or is of another site. Without this, any page that somebody looks at
    could make and delete buckets of a server on their machine.
    """
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        raise HttpError(403, "requests of web pages are refused")
