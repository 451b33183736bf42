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
from .._formats import host_and_port
from ._client import Client
from ._errors import AnswerTimeoutError, CertificateError, ConnectionLostError, EncryptionError, UnreachableError
from ._login import log_in

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

#: How long a server may be silent by default, in seconds: 30. This was picked, not measured. The answer to a request that waits for
#: a slow disk takes a few seconds, and so do refused logins, which a server here delays.
ANSWER_TIMEOUT = 30.0
#: The port of a server if none is given, as of Couchbase's servers.
DEFAULT_PORT = 11210
# What the address of a Unix domain socket begins with.
UNIX = "unix:"
# OpenSSL's reasons for data that is not TLS at all. They vary with its version and with the data.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
# OpenSSL's codes for a certificate of another host, or of another IP address.
_WRONG_HOST = (62, 64)


def _reason(error: BaseException) -> str:
    """Find out why connecting failed: Trio says only that all attempts did, and keeps the error of each as a cause."""
    while True:
        if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
            return explain(error)
        inner = error.__cause__ or next(iter(getattr(error, "exceptions", ())), None)
        if inner is None:
            return explain(error) if isinstance(error, OSError) else str(error)
        error = inner


def _where(host: str, port: int) -> str:
    return host if host.startswith(UNIX) else host_and_port(host, port)


async def _connect(host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> trio.abc.Stream:
    try:
        with trio.fail_after(timeout):
            if host.startswith(UNIX):
                return await trio.open_unix_socket(host.removeprefix(UNIX))
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as exc:
        raise AnswerTimeoutError(f"can't connect to {_where(host, port)}: nobody answered within {timeout:g} seconds") from exc
    except OSError as exc:
        raise UnreachableError(f"can't connect to {_where(host, port)}: {_reason(exc)}") from exc
    except UnicodeError as exc:
        raise UnreachableError(f"can't connect to {host!r}: this is not a valid host name") from exc
    return stream if tls is None else await _encrypt(stream, host, port, tls, timeout)


async def _encrypt(stream: trio.SocketStream, host: str, port: int, tls: ssl.SSLContext, timeout: float) -> trio.abc.Stream:
    """Do the TLS handshake, and close the stream if that fails."""
    # https_compatible: TLS need not detect a cut-off stream, since frames have lengths and answers have ends.
    encrypted = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    try:
        with trio.fail_after(timeout):
            await encrypted.do_handshake()
    except BaseException as exc:
        await trio.aclose_forcefully(encrypted)
        if isinstance(exc, trio.TooSlowError):
            raise AnswerTimeoutError(
                f"{host_and_port(host, port)} did not complete the TLS handshake within {timeout:g} seconds: it may not use TLS"
            ) from exc
        if isinstance(exc, trio.BrokenResourceError):
            raise _tls_error(exc.__cause__, host_and_port(host, port)) from exc
        raise
    return encrypted


def _tls_error(cause: BaseException | None, where: str) -> ConnectionLostError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = f"the certificate of {where} is not trusted: {cause.verify_message.rstrip('.')}"
        return CertificateError(message, wrong_host=cause.verify_code in _WRONG_HOST)
    reason = cause.reason if isinstance(cause, ssl.SSLError) else None
    if reason in _NOT_TLS:
        return EncryptionError(f"{where} does not speak TLS")
    if not reason or isinstance(cause, ssl.SSLEOFError):
        return ConnectionLostError(f"{where} does not speak TLS, or no version that this client supports: it closed the connection")
    return ConnectionLostError(f"the TLS handshake with {where} failed: {reason.replace('_', ' ').lower()}")


async def _begin(
    client: Client, username: str | None, password: str | None, bucket: str | None, timeout: float, *, encrypted: bool
) -> None:
    try:
        with trio.fail_after(timeout):
            if username is not None and password is not None:
                await log_in(client, username, password, encrypted=encrypted)
            if bucket is not None:
                await client.select_bucket(bucket)
    except trio.TooSlowError as exc:
        raise AnswerTimeoutError(f"the server did not answer the login within {timeout:g} seconds") from exc


@asynccontextmanager
async def open_client(
    host: str,
    port: int = DEFAULT_PORT,
    *,
    look_ahead: int = 256 * 1024,
    username: str | None = None,
    password: str | None = None,
    bucket: str | None = None,
    tls: ssl.SSLContext | None = None,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> AsyncIterator[Client]:
    """Connect to a server, and log in if a user name is given.

    Args:
        host: A host name or an address; or ``unix:PATH`` for a Unix domain socket. With TLS, the server's certificate must be for
            this host.
        port: The TCP port of the server. A Unix domain socket has none.
        look_ahead: The number of bytes of statistics that may wait to be iterated over. When more are waiting, reading pauses. The
            default was picked, not measured.
        username: The name of the user to log in as. Leave it out for a server without users.
        password: The password. It is sent only under TLS; otherwise the login uses SCRAM-SHA512, in which both sides prove that
            they know the password.
        bucket: The bucket to work on. By default, the default bucket, if the user may use it.
        tls: The context to encrypt the connection with, as made by `ssl.create_default_context`. A client certificate loaded into
            it may serve as a login.
        answer_timeout: How long the server may be silent while a response is due, in seconds, or `math.inf` for ever. Then the
            connection is given up, and all its calls raise `AnswerTimeoutError`. Connecting, the TLS handshake and the login may
            each take this long. While a long response or request is on its way, 64 KiB of it count as a sign of life. To limit the
            time of a whole call, use `trio.fail_after`.

    Raises:
        ValueError: A user name is given without a password, or a password without a user name, or TLS for a Unix domain socket, or
            `answer_timeout` is not more than 0.
        AnswerTimeoutError: The server does not answer in time.
        ConnectionLostError: The connection is refused, the host is unknown, its certificate is not trusted, or it does not speak
            TLS.
        AuthenticationError: The login is refused.
        AccessError: The bucket does not exist, or the user may not use it.
    """
    if (username is None) != (password is None):
        raise ValueError("a login needs both a user name and a password")
    if not answer_timeout > 0:  # nan is not
        raise ValueError(f"answer_timeout must be more than 0 seconds, or math.inf for no limit; got {answer_timeout!r}")
    if tls is not None and host.startswith(UNIX):
        raise ValueError(f"{host!r} is a Unix domain socket, which is not encrypted: leave tls out")
    stream = await _connect(host, port, tls, answer_timeout)
    async with client_on(stream, look_ahead, answer_timeout) as client:
        await _begin(client, username, password, bucket, answer_timeout, encrypted=tls is not None)
        yield client


@asynccontextmanager
async def client_on(stream: trio.abc.Stream, look_ahead: int, answer_timeout: float) -> AsyncIterator[Client]:
    """Give a stream a client, and close the stream at the end. The arguments are those of `open_client`."""
    try:
        async with stream, open_sender(stream, send_timeout=answer_timeout) as sender, trio.open_nursery() as nursery:
            client = Client(stream, sender, look_ahead, answer_timeout)
            nursery.start_soon(client.receive)
            nursery.start_soon(client.watch)
            try:
                yield client
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_the_one(group)
