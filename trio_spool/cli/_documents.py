"""Documents as text: NDJSON, which loses nothing, and CSV and plain keys, for other tools.

A key or a value that is not UTF-8 is given in base64, under a name that says so.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from typing import Any

import attrs

from ..client import Document

FORMATS = ("ndjson", "csv", "keys")
MAX_KEY = 250
_LONGEST_32 = (1 << 32) - 1


class NotADocumentError(ValueError):
    """A line is not a document. The message says why."""


class NoKeyError(NotADocumentError):
    """A line is JSON, but has no key as `to_json` writes it."""


@attrs.frozen
class Item:
    """What is to be stored."""

    key: bytes
    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0


def text_fields(name: str, data: bytes) -> dict[str, str]:
    """Return a field that has these bytes as text; if they are not UTF-8, in base64, under a name that says so."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def to_json(document: Document, keys_only: bool) -> str:
    """Return a document as a line of NDJSON, with a newline; an expiry is a Unix time."""
    fields: dict[str, object] = dict(text_fields("key", document.key))
    if not keys_only:
        fields |= text_fields("value", document.value)
        fields |= {"flags": document.flags, "expiry": document.expiry, "cas": document.cas, "seqno": document.seqno}
        if document.datatype:
            fields["datatype"] = document.datatype
    return json.dumps(fields, ensure_ascii=False) + "\n"


def parse_object(line: str) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        NotADocumentError: It is none.
    """
    try:
        fields = json.loads(line)
    except ValueError as exc:
        raise NotADocumentError(f"not JSON: {exc}") from None
    except RecursionError:
        raise NotADocumentError("nested too deeply to be read") from None
    if not isinstance(fields, dict):
        raise NotADocumentError("not a JSON object")
    return fields


def from_json(line: str) -> Item:
    """Return what a line of NDJSON says is to be stored: `to_json` backwards.

    Raises:
        NotADocumentError: It does not.
    """
    fields = parse_object(line)
    key = _bytes_field(fields, "key")
    if not 0 < len(key) <= MAX_KEY:
        raise NotADocumentError(f"a key has 1 to {MAX_KEY} bytes; this one has {len(key)}")
    value = _bytes_field(fields, "value")
    return Item(key, value, *(_number_field(fields, name) for name in ("flags", "expiry", "datatype")))


def _bytes_field(fields: dict[str, Any], name: str) -> bytes:
    text, encoded = fields.get(name), fields.get(f"{name}_base64")
    if isinstance(text, str) and encoded is None:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise NotADocumentError(f"{name!r} has a surrogate, which is no character") from None
    if isinstance(encoded, str) and text is None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise NotADocumentError(f"'{name}_base64' is not base64") from None
    error = NoKeyError if name == "key" else NotADocumentError
    raise error(f"a document has {name!r}, a text, or '{name}_base64'; the fields are {', '.join(map(str, fields))}")


def _number_field(fields: dict[str, Any], name: str) -> int:
    number = fields.get(name, 0)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LONGEST_32:
        raise NotADocumentError(f"{name!r} must be a number from 0 to {_LONGEST_32}, not {number!r:.40}")
    return number


class Formatter:
    """Makes text of documents.

    Args:
        form: One of `FORMATS`.
        keys_only: Whether the documents have keys and nothing else.
    """

    def __init__(self, form: str, keys_only: bool) -> None:
        self._form = form
        self._keys_only = keys_only

    def header(self) -> str:
        """Return what comes first."""
        if self._form != "csv":
            return ""
        columns = ["key", "key_encoding"]
        if not self._keys_only:
            columns += ["value", "value_encoding", "flags", "expiry", "cas", "seqno"]
        return self._row(columns)

    def line(self, document: Document) -> str:
        """Return a document, with a newline."""
        if self._form == "ndjson":
            return to_json(document, self._keys_only)
        if self._form == "keys":
            return document.key.decode("utf-8", "backslashreplace") + "\n"
        row: list[object] = [*self._encoded(document.key)]
        if not self._keys_only:
            row += [*self._encoded(document.value), document.flags, document.expiry, document.cas, document.seqno]
        return self._row(row)

    @staticmethod
    def _encoded(data: bytes) -> tuple[str, str]:
        ((name, text),) = text_fields("", data).items()
        return text, name.lstrip("_") or "utf-8"

    @staticmethod
    def _row(values: list[Any]) -> str:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(values)
        return out.getvalue()
