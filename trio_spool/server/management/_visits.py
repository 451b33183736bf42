"""A request of management, with who asks and what it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

import attrs

from ...auth import User
from ..data import Bucket
from ..http import HttpError, Request, Response
from ..shared import Shared

# The most fields of a form. Couchbase's own have twenty at most; picked, not measured.
_MAX_FIELDS: Final = 64
_FORM: Final = "application/x-www-form-urlencoded"


@attrs.frozen
class Visit:
    """A request that its user may make.

    Attributes:
        shared: What all connections share.
        request: The request.
        user: Who asks.
        names: The variable parts of the path.
    """

    shared: Shared
    request: Request
    user: User
    names: tuple[str, ...] = ()
    _bucket: Bucket | None = None

    @property
    def bucket(self) -> Bucket:
        """The bucket that the path names. Only pages whose rule needs one may ask."""
        assert self._bucket is not None
        return self._bucket

    def form(self) -> dict[str, str]:
        """Return the fields of the request's form. Of two with one name, the last counts.

        Raises:
            HttpError: The body is not a form.
        """
        kind = self.request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
        if self.request.body and kind != _FORM:
            raise HttpError(415, f"the body must be a form of the type {_FORM}; got {kind:.80}")
        try:
            text = self.request.body.decode("ascii")
            return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS))
        except ValueError:
            raise HttpError(400, f"the body is not a form of the type {_FORM}") from None


def reply(content: object, status: int = 200) -> Response:
    """Return an answer that is JSON."""
    return Response(status, json.dumps(content).encode(), "application/json", compress=True)


def refuse(status: int, errors: Mapping[str, str] | str) -> Response:
    """Return an error as Couchbase's SDKs look for it: a sentence for each field of the form, or one for the request."""
    return reply({"errors": {"_": errors} if isinstance(errors, str) else dict(errors)}, status)
