"""A client of the management port that sends requests by hand."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import trio

from support.http import Answer, Visitor
from support.service import Served


def port_of(served: Served, index: int = 0) -> int:
    """Return the port of one of the addresses for management."""
    addresses = [address for address in served.addresses if address.endswith(" (management)")]
    return int(addresses[index].removesuffix(" (management)").rsplit(":", 1)[1])


def basic(user: str, password: str = "pencil") -> str:
    """Return a header that logs a user in."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Manager:
    """A connection to the management port."""

    def __init__(self, stream: Any, user: str | None = None) -> None:
        self.visitor = Visitor(stream)
        self.headers = {"Host": "here"} | ({"Authorization": basic(user)} if user is not None else {})

    async def ask(self, method: str, path: str, form: dict[str, object] | bytes | None = None, **headers: str) -> Answer:
        """Send a request, and return the answer."""
        body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
        sent = self.headers | headers | {"Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return await self.visitor.ask(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        answer = await self.ask("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer.body
        return json.loads(answer.body)

    async def refused(self, method: str, path: str, form: dict[str, object] | bytes | None = None) -> tuple[int, str]:
        """Send a request that is refused, and return the status and the sentence."""
        answer = await self.ask(method, path, form)
        (sentence,) = json.loads(answer.body)["errors"].values()
        return answer.status, sentence


@asynccontextmanager
async def managing(
    served: Served, user: str | None = None, *, tls: ssl.SSLContext | None = None, index: int = 0
) -> AsyncIterator[Manager]:
    """Connect to the management port of a service, as a user."""
    async with await trio.open_tcp_stream("127.0.0.1", port_of(served, index)) as stream:
        if tls is None:
            yield Manager(stream, user)
        else:
            encrypted = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
            await encrypted.do_handshake()
            yield Manager(encrypted, user)
