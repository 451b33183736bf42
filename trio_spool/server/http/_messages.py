"""Requests, responses, and who answers them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import attrs

# The longest sentence that a client is told: some of them quote what the client has sent.
_MAX_TOLD: Final = 300
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class HttpError(Exception):
    """A request can't be answered. A handler may raise it.

    Args:
        status: The status of the answer.
        told: A sentence for the client.
        headers: Further headers.

    Attributes:
        status: As above.
        told: As above.
        headers: As above.
    """

    def __init__(self, status: int, told: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(told)
        self.status = status
        self.told = told if len(told) <= _MAX_TOLD else told[: _MAX_TOLD - 1] + "…"
        self.headers = headers


@attrs.define(eq=False)
class Client:
    """Who sends the requests of one connection.

    Attributes:
        peer: The address, for the log.
        number: Counts the connections of a server, from 1.
        tls: Whether the connection is encrypted.
        certificate: The certificate that the client has shown, as `ssl.SSLSocket.getpeercert` returns it; None for none.
        kept: What the handler wants to keep for as long as the connection is open. Only the handler uses it.
    """

    peer: str
    number: int = 1
    tls: bool = False
    certificate: Any = None
    kept: Any = None


@attrs.frozen
class Request:
    """A request that has arrived whole.

    Attributes:
        method: The method, in upper case. HEAD arrives as GET, and the body of its answer is not sent.
        path: The path, as the client has encoded it, from its first ``/``; or ``*``.
        query: What follows the first ``?`` of the target, or an empty string.
        headers: The headers, by their names in lower case. Headers of one name are joined by commas.
        body: The body.
        client: Who sends it.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    client: Client = attrs.field(factory=lambda: Client(""))

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path between slashes, decoded: ``/a/b%2Fc`` has the segments ``a`` and ``b/c``.

        Raises:
            HttpError: A part is not UTF-8.
        """
        try:
            return tuple(unquote_to_bytes(part).decode() for part in self.path.split("/")[1:])
        except UnicodeDecodeError:
            raise HttpError(400, "the path is not UTF-8") from None


@attrs.frozen
class Response:
    """An answer.

    Attributes:
        status: The status.
        body: The body; or what produces it, bytes by bytes, in a worker thread. An iterator is closed at the end, if it has a
            `close`.
        content_type: The type of the body.
        headers: Further headers. Those of the connection, and of the length of the body, are not among them.
        compress: Whether to compress the body for clients that accept it.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    compress: bool = False


# Answers a request. It may raise `HttpError`; whatever else it raises is a 500, and a line in the log.
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def split_target(target: str) -> tuple[str, str]:
    """Return the path and the query of a request's target.

    Raises:
        HttpError: The target is none of a path, an address, and ``*``.
    """
    path, _, query = _ABSOLUTE.sub("", target, count=1).partition("?")
    if not path and _ABSOLUTE.match(target):
        path = "/"
    if "#" in target or not (path.startswith("/") or target == "*"):
        raise HttpError(400, "the target of the request is not a path")
    return path, query


def told(error: HttpError) -> Response:
    """Return the answer that tells a client of an error."""
    return Response(error.status, f"{error.told}\n".encode(), headers=error.headers)
