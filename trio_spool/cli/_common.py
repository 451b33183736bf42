"""What the commands that talk to a server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click
import trio

from ..client import (
    AnswerTimeoutError,
    AuthenticationError,
    CertificateError,
    Client,
    ClientError,
    EncryptionError,
    NoBucketError,
    NotFoundError,
    ServerError,
    UnreachableError,
)
from ..mcbp import Feature, LocalProtocolError
from ._errors import CliError, ConnectionFailedError, LoginError
from ._server_command import KeyCommand as KeyCommand
from ._server_command import ServerCommand as ServerCommand
from ._server_command import server_argument as server_argument
from ._server_command import server_command as server_command
from ._session import Server

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs. By default, print text for people.")


_MEMCACHED: Final = "; if it is memcached, put memcached:// before its address"
# With these, errors carry a reason beside their status, values keep their datatypes, and attributes can be stored.
FEATURES: Final = (Feature.XERROR, Feature.JSON, Feature.XATTR)


def run_with_client(
    server: Server, work: Callable[[Client], Awaitable[T]], *, negotiate: bool | None = None, missing: str = ""
) -> T:
    """Connect, log in, and do some work; see `run_with_server`.

    Args:
        server: The server.
        work: What to do with the client.
        negotiate: Whether to ask for `FEATURES`, which costs a request. By default, with a login. memcached is never asked.
        missing: The message for an item that does not exist.
    """

    async def connect_and_work() -> T:
        async with server.open() as client:
            if not server.address.classic and (negotiate or (negotiate is None and not server.anonymous)):
                with server.answering():
                    await say_hello(client)
            return await work(client)

    return run_with_server(server, connect_and_work, missing=missing)


async def say_hello(client: Client) -> None:
    """Negotiate `FEATURES`, if the server has such."""
    try:
        await client.hello("trio-spool", FEATURES)
    except ServerError:
        pass  # a server of another make may have no features


def run_with_server(server: Server, work: Callable[[], Awaitable[T]], *, missing: str = "") -> T:
    """Do some work with a server, and turn its errors into one line.

    Args:
        server: The server.
        work: What to do.
        missing: The message for an item that does not exist.

    Raises:
        LoginError: The login is refused, or needed.
        ConnectionFailedError: The server can't be reached, does not answer, or refuses a request.
    """
    server.keywords()  # may ask for the password, which would block the event loop
    try:
        return trio.run(work)
    except NotFoundError as exc:
        raise ConnectionFailedError(missing or str(exc)) from None
    except (ClientError, LocalProtocolError, trio.TooSlowError) as exc:
        raise explain_error(exc, server) from None


def explain_error(error: Exception, server: Server) -> CliError:
    """Return the error of the command line for one of a client: it says what can be done by means of options."""
    kind: type[CliError] = LoginError if isinstance(error, AuthenticationError) else ConnectionFailedError
    text = str(error)
    if isinstance(error, trio.TooSlowError):
        text = f"{server.address} did not answer within {server.answer_timeout:g} seconds; is it a trio-spool server?"
        return kind(f"{text} If it is slow, choose a longer --timeout{'' if server.address.classic else _MEMCACHED}")
    if isinstance(error, LocalProtocolError):
        return kind(f"the request can't be sent: {text}")
    hint = _hint(error, server)
    return kind(f"{text}; {hint}" if hint else text)


def _hint(error: Exception, server: Server) -> str:
    if isinstance(error, AuthenticationError):
        return "this server needs a login: use --username" if server.anonymous else ""
    if isinstance(error, NoBucketError):
        return "this user can't use the default bucket: choose one with --bucket"
    if isinstance(error, AnswerTimeoutError):
        return "if the server is slow, choose a longer --timeout"
    if isinstance(error, UnreachableError):
        return server.origin
    if isinstance(error, EncryptionError):
        return "leave --tls or tls:// out" if server.address.tls else "--tls encrypts the connection"
    if isinstance(error, CertificateError):
        return (
            "name the server as its certificate does" if error.wrong_host else "--ca FILE trusts the authority that has signed it"
        )
    return ""


def printable(data: bytes) -> str:
    """Return bytes as text, for JSON, which escapes what must not be shown. Bytes that are not UTF-8 are escaped."""
    return data.decode("utf-8", "backslashreplace")
