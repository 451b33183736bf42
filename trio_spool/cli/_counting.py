"""``trio-spool incr`` and ``decr``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

import click

from ..client import Client, NotANumberError
from ._collections import collection_option
from ._common import KeyCommand, json_option, run_with_client, server_argument, server_command
from ._errors import ConnectionFailedError
from ._keys_of_items import fields_of, key_argument, missing
from ._keyspace import request_prefix
from ._quantities import Expiry
from ._session import Server, session_options

_MAX: Final = 2**64 - 1


class _Number(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An unsigned number of 64 bits."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not text.isdecimal() or not text.isascii() or len(text) > len(str(_MAX)) or int(text) > _MAX:
            self.fail(f"{text!r:.80} is not a whole number from 0 to {_MAX}", param, ctx)
        return int(text)


def _counting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments and options of a number."""
    for option in (
        session_options,
        json_option,
        collection_option,
        click.option(
            "--expire", "expiry", type=Expiry(), default="never", show_default=True,
            help="When an item that --initial makes expires, such as 10m. The expiry of an existing item stays.",
        ),
        click.option(
            "--initial", type=_Number(), metavar="NUMBER",
            help="If the item does not exist, store this number. By default, that is an error.",
        ),
        click.argument("delta", type=_Number(), default=1, metavar="[NUMBER]"),
        key_argument,
        server_argument,
    ):  # fmt: skip
        function = option(function)
    return function


@server_command(cls=KeyCommand)
@_counting_options
def incr(server: Server, key: bytes, **how: Any) -> None:
    """Add NUMBER, or 1, to the number in KEY, and print the result.

    A number is decimal digits, up to 18446744073709551615; beyond that, it begins again at 0.
    """
    _count(server, key, Client.increment, **how)


@server_command(cls=KeyCommand)
@_counting_options
def decr(server: Server, key: bytes, **how: Any) -> None:
    """Subtract NUMBER, or 1, from the number in KEY, and print the result.

    The result is never less than 0.
    """
    _count(server, key, Client.decrement, **how)


def _count(
    server: Server,
    key: bytes,
    change: Callable[..., Any],
    *,
    delta: int,
    initial: int | None,
    expiry: int,
    collection: str | None,
    as_json: bool,
) -> None:
    if expiry and initial is None:
        raise click.UsageError("--expire needs --initial: only an item that is made gets an expiry; see trio-spool expire")

    async def work(client: Client) -> int:
        with server.answering():
            full_key = await request_prefix(client, collection) + key
            try:
                number: int = await change(client, full_key, delta, initial=initial, expiry=expiry)
            except NotANumberError:
                raise ConnectionFailedError(
                    f"the value of {os.fsdecode(key)!r} is not a number of decimal digits below 2^64"
                ) from None
            return number

    absent = f"{missing(key, collection)}; --initial makes it"
    number = run_with_client(server, work, negotiate=True, missing=absent)
    click.echo(json.dumps({**fields_of(key, collection), "number": number}) if as_json else number)
