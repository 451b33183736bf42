"""Connecting to a server."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from .._core import open_sender, raise_the_one
from ._client import Client
from ._errors import ConnectionLostError

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def _reason(error: BaseException) -> str:
    """Find why connecting failed: Trio reports that all attempts did, and keeps each one's error beneath."""
    while True:
        if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
            return os.strerror(error.errno)
        inner = error.__cause__ or next(iter(getattr(error, "exceptions", ())), None)
        if inner is None:
            return getattr(error, "strerror", None) or str(error)
        error = inner


@asynccontextmanager
async def open_client(host: str, port: int, *, look_ahead: int = 256 * 1024) -> AsyncIterator[Client]:
    """Connect to a server.

    Args:
        host: A host name or an address.
        port: Its TCP port.
        look_ahead: Bytes of statistics that may arrive ahead of whoever iterates over them; above that, reading pauses.

    Raises:
        ConnectionLostError: The connection is refused, or the host is not known.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise ConnectionLostError(f"can't connect to {host}:{port}: {_reason(exc)}") from exc
    try:
        async with stream, open_sender(stream) as sender, trio.open_nursery() as nursery:
            client = Client(stream, sender, look_ahead)
            nursery.start_soon(client.receive)
            try:
                yield client
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_the_one(group)
