"""Connecting to a server, encrypting the connection, and logging in."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from .._core import open_sender, raise_the_one
from .._files import explain
from ._client import Client
from ._errors import ConnectionLostError
from ._login import log_in

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Seconds that the server may take to shake hands, and to let us in. It puts off refusals, by some seconds at most.
HANDSHAKE_TIMEOUT = 10.0
LOGIN_TIMEOUT = 30.0
# What OpenSSL calls it when what arrives is no TLS at all; it varies with its version, and with what arrives.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def _reason(error: BaseException) -> str:
    """Find why connecting failed: Trio reports that all attempts did, and keeps each one's error beneath."""
    while True:
        if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
            return explain(error)
        inner = error.__cause__ or next(iter(getattr(error, "exceptions", ())), None)
        if inner is None:
            return explain(error) if isinstance(error, OSError) else str(error)
        error = inner


async def _connect(host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise ConnectionLostError(f"can't connect to {host}:{port}: {_reason(exc)}") from exc
    except UnicodeError as exc:
        raise ConnectionLostError(f"can't connect to {host!r}: it can't be the name of a host") from exc
    return stream if tls is None else await _encrypt(stream, host, port, tls)


async def _encrypt(stream: trio.SocketStream, host: str, port: int, tls: ssl.SSLContext) -> trio.abc.Stream:
    """Shake hands; close the stream if that fails."""
    # Frames have lengths, and answers have ends: nobody can cut them off unseen, with or without a farewell.
    encrypted = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    try:
        with trio.fail_after(HANDSHAKE_TIMEOUT):
            await encrypted.do_handshake()
    except BaseException as exc:
        await trio.aclose_forcefully(encrypted)
        if isinstance(exc, trio.TooSlowError):
            raise ConnectionLostError(f"{host}:{port} did not shake hands within {HANDSHAKE_TIMEOUT:g} seconds: no TLS?") from exc
        if isinstance(exc, trio.BrokenResourceError):
            raise ConnectionLostError(_tls_problem(exc.__cause__, f"{host}:{port}")) from exc
        raise
    return encrypted


def _tls_problem(cause: BaseException | None, where: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {cause.verify_message.rstrip('.')}"
    reason = cause.reason if isinstance(cause, ssl.SSLError) else None
    if reason in _NOT_TLS:
        return f"{where} does not speak TLS"
    if not reason or isinstance(cause, ssl.SSLEOFError):
        return f"{where} does not speak TLS, or no version of it that we do: it closed the connection"
    return f"{where} and we can't agree on TLS: {reason.replace('_', ' ').lower()}"


async def _begin(client: Client, username: str | None, password: str | None, bucket: str | None, *, encrypted: bool) -> None:
    try:
        with trio.fail_after(LOGIN_TIMEOUT):
            if username is not None and password is not None:
                await log_in(client, username, password, encrypted=encrypted)
            if bucket is not None:
                await client.select_bucket(bucket)
    except trio.TooSlowError as exc:
        raise ConnectionLostError(f"the server did not let us in within {LOGIN_TIMEOUT:g} seconds") from exc


@asynccontextmanager
async def open_client(
    host: str,
    port: int,
    *,
    look_ahead: int = 256 * 1024,
    username: str | None = None,
    password: str | None = None,
    bucket: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Connect to a server, and log in if a user name is given.

    Args:
        host: A host name or an address. With TLS, the certificate must be for it.
        port: Its TCP port.
        look_ahead: Bytes of statistics that may arrive ahead of whoever iterates over them; above that, reading pauses.
        username: Who we are. A server that has no users must not be given one.
        password: Sent only under TLS: without, the login is made with SCRAM-SHA512, which proves that both sides know it.
        bucket: What to work on; if None, the default bucket, for those who may use it.
        tls: What the connection is encrypted with, as `ssl.create_default_context` makes it. A certificate loaded into it may be a
            login, too.

    Raises:
        ValueError: There is a user name without a password, or the other way round.
        ConnectionLostError: The connection is refused, the host is not known, its certificate is not trusted, or it speaks no TLS.
        AuthenticationError: The login is refused.
        AccessError: There is no such bucket that the user may use.
    """
    if (username is None) != (password is None):
        raise ValueError("a login has a user name and a password")
    stream = await _connect(host, port, tls)
    try:
        async with stream, open_sender(stream) as sender, trio.open_nursery() as nursery:
            client = Client(stream, sender, look_ahead)
            nursery.start_soon(client.receive)
            try:
                await _begin(client, username, password, bucket, encrypted=tls is not None)
                yield client
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_the_one(group)
