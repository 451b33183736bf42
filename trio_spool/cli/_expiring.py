"""``trio-spool touch`` and ``expire``."""

from __future__ import annotations

import json
import struct
import time
from typing import Final

import click

from ..client import Client, ConnectionLostError
from ..mcbp import Feature, Opcode, PathFlag
from ._collections import collection_option
from ._common import KeyCommand, json_option, run_with_client, server_argument, server_command
from ._errors import ConnectionFailedError
from ._keys_of_items import fields_of, key_argument, missing
from ._keyspace import request_prefix
from ._quantities import MAX_RELATIVE, Expiry
from ._session import Server, session_options

_ATTRIBUTE: Final = b"$document.exptime"
# The length of a path, and its flags.
_PATH = struct.Struct(">HB")
# The digits of the longest expiry, which has 32 bits.
_DIGITS: Final = 10


@server_command(cls=KeyCommand)
@server_argument
@key_argument
@click.argument("expiry", type=Expiry(), metavar="TIME")
@collection_option
@json_option
@session_options
def touch(server: Server, key: bytes, expiry: int, collection: str | None, as_json: bool) -> None:
    """Let the item KEY expire after TIME, counted from now.

    TIME is such as 90s, 10m or 30d, or never. A number alone is in seconds, or, above 2592000, a Unix time. The value stays as it
    is, and is not sent.
    """
    _print(key, collection, _change(server, key, expiry, collection), as_json)


@server_command(cls=KeyCommand)
@server_argument
@key_argument
@click.argument("expiry", type=Expiry(), metavar="[TIME]", required=False)
@collection_option
@json_option
@session_options
def expire(server: Server, key: bytes, expiry: int | None, collection: str | None, as_json: bool) -> None:
    """Print when the item KEY expires, or, with TIME, change that, as touch does.

    With --json, expiry is a Unix time in seconds, or 0 for never.
    """
    moment = _look_up(server, key, collection) if expiry is None else _change(server, key, expiry, collection)
    _print(key, collection, moment, as_json)


def _change(server: Server, key: bytes, expiry: int, collection: str | None) -> int:
    """Change the expiry of an item, and return when it expires: a Unix time, or 0 for never."""

    async def work(client: Client) -> None:
        with server.answering():
            await client.touch(await request_prefix(client, collection) + key, expiry)

    run_with_client(server, work, missing=missing(key, collection))
    return expiry + int(time.time()) if 0 < expiry <= MAX_RELATIVE else expiry


def _look_up(server: Server, key: bytes, collection: str | None) -> int:
    async def work(client: Client) -> int:
        if Feature.XATTR not in client.features:
            raise ConnectionFailedError("this server does not tell when items expire; only trio-spool and Couchbase do")
        with server.answering():
            full_key = await request_prefix(client, collection) + key
            call = await client.start(
                Opcode.SUBDOC_GET, key=full_key, extras=_PATH.pack(len(_ATTRIBUTE), PathFlag.XATTR), value=_ATTRIBUTE
            )  # fmt: skip
            found = (await call.expect_success()).value
        if not found.isdigit() or len(found) > _DIGITS:
            raise ConnectionLostError(f"the server sent something other than an expiry: {found[:100]!r}")
        return int(found)

    return run_with_client(server, work, negotiate=True, missing=missing(key, collection))


def _print(key: bytes, collection: str | None, moment: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**fields_of(key, collection), "expiry": moment}))
    elif not moment:
        click.echo("never expires")
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(moment))
        click.echo(f"expires in {_span(moment - int(time.time()))}, at {when}")


def _span(seconds: int) -> str:
    """Return a time span in days, hours, minutes and seconds."""
    parts = []
    rest = max(seconds, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join([*parts, f"{rest}s"] if rest or not parts else parts)
