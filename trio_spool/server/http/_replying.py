"""Answers as bytes: heads, compression, and bodies that a worker thread produces."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11

from ._messages import Response

# Smaller bodies are not compressed: they fit in a packet as they are. Picked, not measured.
MIN_COMPRESSED: Final = 1024
# Picked, not measured: zlib's own default is 6.
_LEVEL: Final = 5
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # zlib: a gzip header around the largest window
_WEIGHT = re.compile(r"\s*;\s*q\s*=\s*(?P<weight>[01](?:\.\d{0,3})?)\s*\Z")


def accepts_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding header names gzip with a weight above 0."""
    for part in accepted.lower().split(","):
        name, semicolon, _ = part.partition(";")
        if name.strip() in ("gzip", "x-gzip"):
            weight = _WEIGHT.match(part[len(name) :]) if semicolon else None
            return not semicolon or (weight is not None and float(weight["weight"]) > 0)
    return False


def compress_in_thread(body: bytes) -> bytes:
    """Compress a body."""
    return gzip.compress(body, _LEVEL, mtime=0)


def head_of(response: Response, *, length: int | None, compressed: bool, close: bool) -> h11.Response:
    """Return the head of an answer.

    Args:
        response: The answer.
        length: The length of the body as it is sent, in bytes; None if it is not known yet.
        compressed: Whether it is sent compressed.
        close: Whether the connection is closed after it.
    """
    headers = [("Date", formatdate(usegmt=True)), ("Content-Type", response.content_type)]
    if length is not None and response.status not in (204, 304):
        headers.append(("Content-Length", str(length)))
    if response.compress:
        headers.append(("Vary", "Accept-Encoding"))
    if compressed:
        headers.append(("Content-Encoding", "gzip"))
    if close:
        headers.append(("Connection", "close"))
    # What is shown here is about this moment, and never a page to be guessed at.
    headers += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *response.headers]
    return h11.Response(status_code=response.status, headers=headers, reason=_reason(response.status))


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


class Streamed:
    """An answer whose body is produced in a worker thread. While it is produced, nobody else uses the connection's state.

    Args:
        wire: The state of the connection.
        head: The head of the answer.
        body: Produces the body.
        compressed: Whether to compress it.

    Attributes:
        begun: Whether anything of the answer was given away. Before that, another answer is possible.
    """

    def __init__(self, wire: h11.Connection, head: h11.Response, body: Iterable[bytes], *, compressed: bool) -> None:
        self._wire = wire
        self._head = head
        self._body = body
        self._compressed = compressed
        self.begun = False

    def produce_in_thread(self) -> Iterator[bytes]:
        """Yield the answer, as it is sent. The head comes with the first bytes of the body, so that what fails before is a 500."""
        wire = self._wire
        for piece in self._pieces_in_thread():
            data = b"" if self.begun else wire.send(self._head)
            self.begun = True
            yield data + wire.send(h11.Data(data=piece))
        data = b"" if self.begun else wire.send(self._head)
        self.begun = True
        yield data + wire.send(h11.EndOfMessage())

    def _pieces_in_thread(self) -> Iterator[bytes]:
        body = iter(self._body)
        try:
            if not self._compressed:
                yield from filter(None, body)
                return
            compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
            for piece in body:
                if data := compressor.compress(piece):
                    yield data
            yield compressor.flush()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
