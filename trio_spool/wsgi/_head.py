"""The head of a response: what an application gives to start_response, checked and in ASGI's form."""

from __future__ import annotations

import re
from typing import Any

import attrs

_STATUS = re.compile(r"[2-9][0-9][0-9] [^\x00-\x1f\x7f]*")
# RFC 9110, 5.6.2 (a name is a token) and 5.5 (a value has no control characters but the tab).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# They belong to the server's connection with its client: PEP 3333, "Other HTTP Features".
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding", "upgrade"}
)
_WITHOUT_BODY = frozenset({204, 304})


@attrs.frozen
class Head:
    """What goes out before the body.

    Attributes:
        status: The number. ASGI has no place for the reason phrase: the server sends its own.
        headers: As ASGI wants them: bytes, names in lower case.
        length: The value of Content-Length, if there is one.
        has_body: Whether a response with this status has a body at all.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None
    has_body: bool

    def with_length(self, length: int) -> Head:
        """Return this head with a Content-Length, unless it has one, or its status forbids it."""
        if self.length is not None or not self.has_body:
            return self
        return attrs.evolve(self, headers=[*self.headers, (b"content-length", b"%d" % length)], length=length)


def parse_head(status: Any, headers: Any) -> Head:
    """Check the arguments of start_response.

    Raises:
        TypeError: A status, a name or a value is no str; or a header is not a pair.
        ValueError: HTTP or PEP 3333 forbids one of them.
    """
    if not isinstance(status, str):
        raise TypeError(f"start_response: the status must be a str such as '200 OK'; got {status!r}")
    if not _STATUS.fullmatch(status):
        raise ValueError(f"start_response: the status must be three digits, a space and a reason, such as '200 OK'; got {status!r}")
    number = int(status[:3])
    parsed = []
    length = None
    for header in headers:
        name, value = _parse_header(header)
        if name == "content-length":
            length = _parse_length(value, length)
        parsed.append((name.encode("ascii"), value.encode("latin-1")))
    return Head(number, parsed, length, number not in _WITHOUT_BODY)


def _parse_header(header: Any) -> tuple[str, str]:
    if not isinstance(header, tuple) or len(header) != 2 or not (isinstance(header[0], str) and isinstance(header[1], str)):
        raise TypeError(f"start_response: a header must be a tuple of two str, a name and a value; got {header!r}")
    name, value = header[0].lower(), header[1].strip(" \t")
    if not _NAME.fullmatch(name):
        raise ValueError(f"start_response: {header[0]!r} is not a valid name of a header")
    if name in _HOP_BY_HOP or name == "status":
        raise ValueError(
            f"start_response: an application may not set the header {header[0]!r}, since the server does: leave it out"
        )
    if not _VALUE.fullmatch(value):
        raise ValueError(f"start_response: the value of {header[0]!r} has a control character: {value!r}")
    if not value.isascii():
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(
                f"start_response: the value of {header[0]!r} has characters beyond latin-1: {value!r}. "
                "PEP 3333 wants its bytes, decoded as latin-1"
            ) from None
    return name, value


def _parse_length(value: str, before: int | None) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"start_response: Content-Length must be a number of bytes; got {value!r}")
    if before is not None and before != int(value):
        raise ValueError(f"start_response: there are two different values of Content-Length: {before} and {value}")
    return int(value)
