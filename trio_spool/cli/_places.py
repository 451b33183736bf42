"""Places: the bucket and the collection of a document, as files have them."""

from __future__ import annotations

from typing import Any, Final

import attrs

from ._errors import DocumentError

DEFAULT_BUCKET: Final = "default"
DEFAULT_COLLECTION: Final = "_default._default"
# Bytes; what the protocol takes for a name.
_MAX_NAME: Final = 250
_MAX_TTL: Final = (1 << 31) - 1


@attrs.frozen
class Place:
    """Where a document is.

    Attributes:
        bucket: The bucket; empty if it is not said.
        collection: The collection, as ``scope.collection``; empty if it is not said.
    """

    bucket: str = ""
    collection: str = ""

    @property
    def always_exists(self) -> bool:
        """Whether every server has this collection."""
        return self == Place(DEFAULT_BUCKET, DEFAULT_COLLECTION)

    def fields(self) -> dict[str, object]:
        """Return the fields that say it in a line."""
        return {name: text for name, text in (("bucket", self.bucket), ("collection", self.collection)) if text}

    def __str__(self) -> str:
        return f"the collection {self.collection!r} of the bucket {self.bucket!r}"


NO_PLACE: Final = Place()


@attrs.frozen
class Declaration:
    """A line that says only that there is a collection: it may have no documents.

    Attributes:
        place: The collection.
        max_ttl: The number of seconds after which its documents expire at the latest, or 0 for no such limit.
    """

    place: Place
    max_ttl: int

    def fields(self) -> dict[str, object]:
        """Return the fields of the line."""
        return {**self.place.fields(), "max_ttl": self.max_ttl}


def parse_place(fields: dict[str, Any]) -> Place:
    """Return the place that a line says.

    Raises:
        DocumentError: What it says can't be a place.
    """
    place = Place(_name(fields, "bucket"), _name(fields, "collection"))
    scope, _, name = place.collection.partition(".")
    if place.collection and (not scope or not name or "." in name):
        raise DocumentError(f"'collection' must be SCOPE.COLLECTION; got {place.collection!r:.80}")
    return place


def parse_declaration(fields: dict[str, Any]) -> Declaration | None:
    """Return what a line declares, or None if it has other fields.

    Raises:
        DocumentError: It declares something that can't be.
    """
    if set(fields) != {"bucket", "collection", "max_ttl"}:
        return None
    max_ttl = fields["max_ttl"]
    if isinstance(max_ttl, bool) or not isinstance(max_ttl, int) or not 0 <= max_ttl <= _MAX_TTL:
        raise DocumentError(f"'max_ttl' must be a number from 0 to {_MAX_TTL}; got {max_ttl!r:.40}")
    return Declaration(parse_place(fields), max_ttl)


def _name(fields: dict[str, Any], field: str) -> str:
    name = fields.get(field, "")
    if field in fields and (not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= _MAX_NAME):
        raise DocumentError(f"{field!r} must be a name; got {name!r:.80}")
    return str(name)
