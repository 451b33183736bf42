"""What the commands that talk to a server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio
from rich.text import Text

from ..client import AuthenticationError, Client, ClientError, NoBucketError, NotFoundError, ServerError
from ..mcbp import Feature
from ._session import HostPort, Server

T = TypeVar("T")

# Seconds within which a server must answer a single request.
ANSWER_TIMEOUT = 30.0

server_argument = click.argument("server", type=HostPort())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


# What is asked for, so that errors say more than their status, and values keep their datatypes.
FEATURES = (Feature.XERROR, Feature.JSON)


def run_with_client(server: Server, work: Callable[[Client], Awaitable[T]], *, negotiate: bool = False, missing: str = "") -> T:
    """Connect, say which features we would like if `negotiate` or if we say who we are, and do the work; see `run_with_server`."""

    async def connect_and_work() -> T:
        async with server.open() as client:
            if negotiate or not server.anonymous:
                with trio.fail_after(ANSWER_TIMEOUT):
                    await say_hello(client)
            return await work(client)

    return run_with_server(server, connect_and_work, missing=missing)


async def say_hello(client: Client) -> None:
    """Negotiate features, if the server knows of such."""
    try:
        await client.hello("trio-spool", FEATURES)
    except ServerError:
        pass  # as memcached, which has no features


def run_with_server(server: Server, work: Callable[[], Awaitable[T]], *, missing: str = "") -> T:
    """Do something with a server, and turn what goes wrong into one line and exit status 1.

    Args:
        server: The server.
        work: What to do.
        missing: What to say if what it asks for is not there.
    """
    server.keywords()  # may ask for the password, which has no place in an event loop
    try:
        return trio.run(work)
    except AuthenticationError as exc:
        hint = "; this server wants to know who you are: give --username" if server.anonymous else ""
        raise click.ClickException(f"{exc}{hint}") from None
    except NotFoundError as exc:
        raise click.ClickException(missing or str(exc)) from None
    except NoBucketError as exc:
        raise click.ClickException(f"{exc}; the default bucket is not for this user: choose one with --bucket") from None
    except ClientError as exc:
        raise click.ClickException(str(exc)) from None
    except trio.TooSlowError:
        raise click.ClickException(f"{server.host}:{server.port} did not answer within {ANSWER_TIMEOUT:g} seconds") from None


def printable(data: bytes) -> str:
    """Return bytes as text, what is not UTF-8 escaped."""
    return data.decode("utf-8", "backslashreplace")


_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}


def visible(data: bytes) -> Text:
    """Return bytes as text that can be shown: a terminal is not told what to do by them, nor is rich."""
    return Text(printable(data).translate(_CONTROLS))
