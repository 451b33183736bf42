"""Documents as text: NDJSON, which loses nothing, and CSV and plain keys, for other tools.

A key or a value that is not UTF-8 is written in base64, in a field whose name ends in ``_base64``. A character that a terminal
would obey instead of showing it is never written as it is. JSON and plain keys have escapes for it. CSV has none, so there a text
with such a character is written in base64, too.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Final

import attrs

from .._formats import escape_in_json, is_visible, visible
from ..client import Document
from ._errors import DocumentError, MissingKeyError
from ._places import NO_PLACE, Declaration, Place, parse_declaration, parse_place

FORMATS: Final = ("ndjson", "csv", "keys")
# Bytes; the protocol's limit.
MAX_KEY: Final = 250
_ONE_A_LINE: Final = "NDJSON has one document a line, and this makes it of other JSON"
_ARRAY: Final = f"not a JSON object but an array; {_ONE_A_LINE}: jq -c '.[]' FILE"
_MAX_32: Final = (1 << 32) - 1


@attrs.frozen
class Item:
    """An item to store.

    Attributes:
        key: Its key.
        value: Its value.
        flags: A number for the use of clients.
        expiry: A Unix time in seconds, or 0 for never.
        datatype: The bits of the protocol's datatype.
        place: The bucket and the collection that its line says.
        xattrs: The names of its extended attributes, and their JSON.
    """

    key: bytes
    value: bytes
    flags: int = 0
    expiry: int = 0
    datatype: int = 0
    place: Place = NO_PLACE
    xattrs: tuple[tuple[str, str], ...] = ()


def text_fields(name: str, data: bytes) -> dict[str, str]:
    """Return the field for some bytes: as text, or in base64, with another name, if they are not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def to_json(document: Document, keys_only: bool, place: Place | None = None, xattrs: Iterable[tuple[bytes, bytes]] = ()) -> str:
    """Return a document as a line of NDJSON, including the newline.

    Args:
        document: The document.
        keys_only: Whether it has only its key.
        place: Where it is, which is a part of the line if it has a value; None to leave that out.
        xattrs: The names of its extended attributes, and their JSON.
    """
    fields: dict[str, object] = {} if place is None or keys_only else place.fields()
    fields |= text_fields("key", document.key)
    if not keys_only:
        fields |= text_fields("value", document.value)
        fields |= {"flags": document.flags, "expiry": document.expiry, "cas": document.cas, "seqno": document.seqno}
        if document.datatype:
            fields["datatype"] = document.datatype
        if attributes := {name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in xattrs}:
            fields["xattrs"] = attributes
    return _line(fields)


def declaration_to_json(declaration: Declaration) -> str:
    """Return a declaration as a line of NDJSON, including the newline."""
    return _line(declaration.fields())


def _line(fields: dict[str, object]) -> str:
    return escape_in_json(json.dumps(fields, ensure_ascii=False)) + "\n"


def parse_object(line: str) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        DocumentError: The line is not a JSON object.
    """
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as exc:
        raise DocumentError(_explain_json(line, exc)) from None
    except ValueError as exc:  # Python reads no number of thousands of digits
        raise DocumentError(f"not valid JSON: {exc}") from None
    except RecursionError:
        raise DocumentError("too deeply nested") from None
    if isinstance(fields, list):
        raise DocumentError(_ARRAY)
    if not isinstance(fields, dict):
        raise DocumentError("not a JSON object")
    return fields


def _explain_json(line: str, error: json.JSONDecodeError) -> str:
    """Explain what is wrong with a line that is not JSON; most often, it is a part of JSON in another form."""
    if line.startswith("["):
        return _ARRAY
    if error.msg == "Extra data" and line[error.pos :].lstrip(" ,").startswith(("{", "[")):
        return f"more than one document; {_ONE_A_LINE}: jq -c . FILE"
    if error.pos >= len(line.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"not valid JSON: it ends within a document; {_ONE_A_LINE}: jq -c . FILE"
    return f"not valid JSON: {error.msg} at character {error.pos + 1}"


def from_json(line: str) -> Item | Declaration:
    """Return the item in a line that `to_json` has written, or what a line of `declaration_to_json` declares.

    Raises:
        DocumentError: The line is not a document.
    """
    fields = parse_object(line)
    declared = parse_declaration(fields)
    if declared is not None:
        return declared
    key = _bytes_field(fields, "key")
    if not 0 < len(key) <= MAX_KEY:
        raise DocumentError(f"a key has 1 to {MAX_KEY} bytes; this one has {len(key)}")
    value = _bytes_field(fields, "value")
    flags, expiry, datatype = (_number_field(fields, name) for name in ("flags", "expiry", "datatype"))
    return Item(key, value, flags, expiry, datatype, parse_place(fields), _xattrs_field(fields))


def _xattrs_field(fields: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the attributes. Their JSON is text in a line, so that nothing of it changes on the way, not even a number."""
    xattrs = fields.get("xattrs", {})
    if not isinstance(xattrs, dict) or not all(0 < len(name) <= MAX_KEY and isinstance(text, str) for name, text in xattrs.items()):
        raise DocumentError(
            f"'xattrs' must be an object with names of at most {MAX_KEY} characters, and JSON as text; got {xattrs!r:.80}"
        )
    try:
        "".join((*xattrs, *xattrs.values())).encode()
    except UnicodeEncodeError:
        raise DocumentError("'xattrs' contains a surrogate, which is not a character") from None
    return tuple(xattrs.items())


def _bytes_field(fields: dict[str, Any], name: str) -> bytes:
    text, encoded = fields.get(name), fields.get(f"{name}_base64")
    if isinstance(text, str) and encoded is None:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise DocumentError(f"{name!r} contains a surrogate, which is not a character") from None
    if isinstance(encoded, str) and text is None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise DocumentError(f"'{name}_base64' is not valid base64") from None
    error = MissingKeyError if name == "key" else DocumentError
    raise error(f"a document needs text in {name!r} or '{name}_base64'; the fields are {', '.join(map(str, fields))}")


def _number_field(fields: dict[str, Any], name: str) -> int:
    number = fields.get(name, 0)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_32:
        raise DocumentError(f"{name!r} must be a number from 0 to {_MAX_32}; got {number!r:.40}")
    return number


def _without_breaks(text: str) -> str:
    """Return text without tabs and line breaks. A lone carriage return is neither: it hides what is before it."""
    return text.replace("\r\n", "").replace("\n", "").replace("\t", "")


class Formatter:
    """Formats documents as text.

    Args:
        form: One of `FORMATS`.
        keys_only: Whether the documents have only keys.
        place: Where the documents are, for NDJSON.
    """

    def __init__(self, form: str, keys_only: bool, place: Place) -> None:
        self._form = form
        self._keys_only = keys_only
        self._place = place

    def header(self) -> str:
        """Return the first line, including its newline; empty if the format has none."""
        if self._form != "csv":
            return ""
        columns = ["key", "key_encoding"]
        if not self._keys_only:
            columns += ["value", "value_encoding", "flags", "expiry", "cas", "seqno"]
        return self._row(columns)

    def line(self, document: Document) -> str:
        """Return a document as a line, including the newline."""
        if self._form == "ndjson":
            return to_json(document, self._keys_only, self._place)
        if self._form == "keys":
            return visible(document.key) + "\n"
        row: list[object] = [*self._encoded(document.key)]
        if not self._keys_only:
            row += [*self._encoded(document.value), document.flags, document.expiry, document.cas, document.seqno]
        return self._row(row)

    @staticmethod
    def _encoded(data: bytes) -> tuple[str, str]:
        ((name, text),) = text_fields("", data).items()
        if name or is_visible(_without_breaks(text)):
            return text, name.lstrip("_") or "utf-8"
        return base64.b64encode(data).decode(), "base64"

    @staticmethod
    def _row(values: list[Any]) -> str:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(values)
        return out.getvalue()
