"""The headers of a response, checked and encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Union, cast

Headers = Union[Mapping[str, str], Iterable[tuple[Union[str, bytes], Union[str, bytes]]]]
RawHeaders = list[tuple[bytes, bytes]]

# RFC 9110, 5.6.2 (token) and 5.5 (field-value). A line break in a value would begin another header: whoever chose the value could
# answer in the server's place. Not all servers check this.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def encode_headers(headers: Headers) -> RawHeaders:
    """Return headers as ASGI wants them: pairs of bytes, names in lower case.

    Raises:
        ValueError: A name or a value has a character that HTTP does not allow there.
    """
    pairs = cast(
        Iterable[tuple[Union[str, bytes], Union[str, bytes]]], headers.items() if isinstance(headers, Mapping) else headers
    )
    encoded = [(_bytes(name).lower(), _bytes(value).strip(b" \t")) for name, value in pairs]
    for name, value in encoded:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header: only letters, digits and !#$%&'*+-.^_`|~ may be in one")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of the header {name.decode()} has a control character in it: {value!r}")
    return encoded


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def content_length(headers: RawHeaders) -> int | None:
    """Return the value of content-length, or None if it is not among the headers."""
    for name, value in headers:
        if name == b"content-length":
            if not re.fullmatch(rb"[0-9]+", value):
                raise ValueError(f"content-length must be a number of bytes, got {value!r}")
            return int(value)
    return None
