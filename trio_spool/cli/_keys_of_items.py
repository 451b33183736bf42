"""What commands for single items share: their keys as arguments, and how messages and JSON name an item."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from ._documents import MAX_KEY, text_fields
from ._errors import MissingItemError


class Key(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The key of an item. It need not be UTF-8."""

    name = "KEY"

    def convert(self, value: str | bytes, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the key as bytes."""
        key = os.fsencode(value)
        if not 0 < len(key) <= MAX_KEY:
            self.fail(f"a key has 1 to {MAX_KEY} bytes; this one has {len(key)}", param, ctx)
        return key


key_argument = click.argument("key", type=Key())
keys_argument = click.argument("keys", type=Key(), nargs=-1, required=True, metavar="KEY...")


def missing(key: bytes, collection: str | None) -> str:
    """Return the message for an item that does not exist."""
    where = "" if collection is None else f" in the collection {collection}"
    return f"not found: there is no item with the key {os.fsdecode(key)!r}{where}"


def fields_of(key: bytes, collection: str | None) -> dict[str, str]:
    """Return the fields of JSON that say which item it is."""
    return text_fields("key", key) if collection is None else {"collection": collection, **text_fields("key", key)}


def report_missing(keys: Sequence[bytes], collection: str | None) -> None:
    """Name the items that do not exist; if there are any, the command ends with status 1.

    Raises:
        MissingItemError: There is one.
    """
    for key in keys[:-1]:
        MissingItemError(missing(key, collection)).show()
    if keys:
        raise MissingItemError(missing(keys[-1], collection))
