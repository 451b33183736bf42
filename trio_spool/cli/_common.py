"""What the commands that talk to a server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click
import trio

from .._formats import host_and_port
from ..client import AnswerTimeoutError, AuthenticationError, Client, ClientError, NoBucketError, NotFoundError, ServerError
from ..mcbp import Feature, LocalProtocolError
from ._errors import ConnectionFailedError, LoginError
from ._session import HostPort, Server

T = TypeVar("T")

server_argument = click.argument("server", type=HostPort(), metavar="HOST:PORT")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs. By default, print text for people.")


# With these, errors carry a reason beside their status, values keep their datatypes, and attributes can be stored.
FEATURES: Final = (Feature.XERROR, Feature.JSON, Feature.XATTR)


def run_with_client(server: Server, work: Callable[[Client], Awaitable[T]], *, negotiate: bool = False, missing: str = "") -> T:
    """Connect, log in, and do some work; see `run_with_server`.

    Args:
        server: The server.
        work: What to do with the client.
        negotiate: Ask for `FEATURES`, also without a login. It costs a request, and servers of other makes may not know it.
        missing: The message for an item that does not exist.
    """

    async def connect_and_work() -> T:
        async with server.open() as client:
            if negotiate or not server.anonymous:
                with server.answering():
                    await say_hello(client)
            return await work(client)

    return run_with_server(server, connect_and_work, missing=missing)


async def say_hello(client: Client) -> None:
    """Negotiate `FEATURES`, if the server has such."""
    try:
        await client.hello("trio-spool", FEATURES)
    except ServerError:
        pass  # memcached has no features


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
    except AuthenticationError as exc:
        hint = "; this server needs a login: use --username" if server.anonymous else ""
        raise LoginError(f"{exc}{hint}") from None
    except NotFoundError as exc:
        raise ConnectionFailedError(missing or str(exc)) from None
    except NoBucketError as exc:
        raise ConnectionFailedError(f"{exc}; this user can't use the default bucket: choose one with --bucket") from None
    except AnswerTimeoutError as exc:
        raise ConnectionFailedError(f"{exc}; if the server is slow, choose a longer --timeout") from None
    except trio.TooSlowError:
        where, waited = host_and_port(server.host, server.port), f"{server.answer_timeout:g} seconds"
        raise ConnectionFailedError(
            f"{where} did not answer within {waited}; is it a trio-spool server? If it is slow, choose a longer --timeout"
        ) from None
    except ClientError as exc:
        raise ConnectionFailedError(str(exc)) from None
    except LocalProtocolError as exc:
        raise ConnectionFailedError(f"the request can't be sent: {exc}") from None


def printable(data: bytes) -> str:
    """Return bytes as text, for JSON, which escapes what must not be shown. Bytes that are not UTF-8 are escaped."""
    return data.decode("utf-8", "backslashreplace")
