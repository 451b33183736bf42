"""The buckets and collections that a server for tests begins with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import attrs

_NAME: Final = r"[A-Za-z0-9%_-]{1,251}"
_COLLECTION: Final = re.compile(rf"(?:(?P<bucket>[^:]+):)?(?P<path>{_NAME}\.{_NAME})", re.ASCII)
DEFAULT_BUCKET: Final = "default"


@attrs.frozen
class Collection:
    """A collection.

    Attributes:
        bucket: Its bucket.
        scope: Its scope.
        name: Its name.
    """

    bucket: str
    scope: str
    name: str

    @property
    def path(self) -> str:
        """``SCOPE.NAME``."""
        return f"{self.scope}.{self.name}"


def parse_collection(text: str) -> Collection:
    """Parse ``SCOPE.COLLECTION``, in the default bucket, or ``BUCKET:SCOPE.COLLECTION``.

    Raises:
        ValueError: It is neither.
    """
    match = _COLLECTION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"a collection must be SCOPE.COLLECTION or BUCKET:SCOPE.COLLECTION, such as 'shop.orders'; got {text!r}")
    scope, _, name = match["path"].partition(".")
    return Collection(match["bucket"] or DEFAULT_BUCKET, scope, name)


def names_in(option: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return names that a caller has given as an iterable.

    Raises:
        TypeError: They are a str, whose characters would be taken for names.
    """
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{option} must be a list of names; got {values!r}: put it in brackets")
    return tuple(values)
