"""What the commands that talk to a server share."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from ..client import Client, ClientError, ServerError, open_client
from ..mcbp import Feature

T = TypeVar("T")

# Seconds within which a server must answer a single request.
ANSWER_TIMEOUT = 30.0


class HostPort(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``HOST:PORT``, or ``[ADDRESS]:PORT`` for IPv6."""

    name = "HOST:PORT"

    def convert(self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split it."""
        if isinstance(value, tuple):
            return value
        host, separator, port = value.removeprefix("tcp://").rpartition(":")
        if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT, as in 127.0.0.1:11210", param, ctx)
        return host.strip("[]"), int(port)


server_argument = click.argument("server", type=HostPort())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


# What is asked for, so that errors say more than their status, and values keep their datatypes.
FEATURES = (Feature.XERROR, Feature.JSON)


def run_with_client(server: tuple[str, int], work: Callable[[Client], Awaitable[T]], *, negotiate: bool = False) -> T:
    """Connect, say which features we would like if `negotiate`, and do the work; see `run_with_server`."""

    async def connect_and_work() -> T:
        async with open_client(*server) as client:
            if negotiate:
                with trio.fail_after(ANSWER_TIMEOUT):
                    await say_hello(client)
            return await work(client)

    return run_with_server(server, connect_and_work)


async def say_hello(client: Client) -> None:
    """Negotiate features, if the server knows of such."""
    try:
        await client.hello("trio-spool", FEATURES)
    except ServerError:
        pass  # as memcached, which has no features


def run_with_server(server: tuple[str, int], work: Callable[[], Awaitable[T]]) -> T:
    """Do something with a server, and turn what goes wrong into one line and exit status 1."""
    try:
        return trio.run(work)
    except ClientError as exc:
        raise click.ClickException(str(exc)) from None
    except trio.TooSlowError:
        host, port = server
        raise click.ClickException(f"{host}:{port} did not answer within {ANSWER_TIMEOUT:g} seconds") from None
    except BrokenPipeError:
        # Whoever reads our output has had enough, as `head` has. What is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def printable(data: bytes) -> str:
    """Return bytes as text, what is not UTF-8 escaped."""
    return data.decode("utf-8", "backslashreplace")
