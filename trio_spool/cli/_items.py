"""``trio-spool get``, ``set`` and ``delete``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from .._files import explain
from .._formats import visible
from ..client import Client, StoredValue
from ..mcbp import MAX_FRAME
from ._collections import collection_option
from ._commands import print_table
from ._common import KeyCommand, json_option, run_with_client, server_argument, server_command
from ._documents import MAX_KEY, text_fields
from ._errors import CliError, FileError
from ._keyspace import request_key
from ._quantities import Expiry
from ._session import Server, session_options

# The bytes of a value that a table shows. Picked: the longest value kept the table busy for more than 40 seconds.
_SHOWN: Final = 10_000


class Key(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The key of an item. It need not be UTF-8."""

    name = "KEY"

    def convert(self, value: str | bytes, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the key as bytes."""
        key = os.fsencode(value)
        if not 0 < len(key) <= MAX_KEY:
            self.fail(f"a key has 1 to {MAX_KEY} bytes; this one has {len(key)}", param, ctx)
        return key


key_argument = click.argument("key", type=Key())


def _missing(key: bytes, collection: str | None) -> str:
    where = "" if collection is None else f" in the collection {collection}"
    return f"not found: there is no item with the key {os.fsdecode(key)!r}{where}"


def _fields(key: bytes, collection: str | None) -> dict[str, str]:
    """Return the fields of JSON that say which item it is."""
    return text_fields("key", key) if collection is None else {"collection": collection, **text_fields("key", key)}


@server_command(cls=KeyCommand)
@server_argument
@key_argument
@json_option
@click.option("--raw", is_flag=True, help="Write the bytes of the value, and nothing else.")
@collection_option
@session_options
def get(server: Server, key: bytes, as_json: bool, raw: bool, collection: str | None) -> None:
    """Print the value of KEY.

    A value that is not UTF-8 is printed with escapes, and with --json in base64, as value_base64. Of a long value, only the
    beginning is printed, unless --json or --raw is given.
    """
    if as_json and raw:
        raise click.UsageError("--json and --raw can't be combined")

    async def work(client: Client) -> StoredValue:
        with server.answering():
            return await client.get(await request_key(client, key, collection))

    stored = run_with_client(server, work, missing=_missing(key, collection))
    if raw:
        sys.stdout.buffer.write(stored.value)
        sys.stdout.buffer.flush()
    elif as_json:
        described = {"flags": stored.flags, "cas": stored.cas}
        click.echo(json.dumps({**_fields(key, collection), **described, **text_fields("value", stored.value)}))
    else:
        numbers = map(str, (stored.flags, stored.cas, len(stored.value)))
        print_table(["key", "flags", "cas", "bytes", "value"], [[visible(key), *numbers, visible(stored.value, _SHOWN)]])


def _read(source: str) -> bytes:
    """Return the content of a file, or of standard input, up to one byte more than a request has room for."""
    try:
        with click.open_file(source, "rb") as file:
            return bytes(file.read(MAX_FRAME + 1))
    except OSError as exc:
        name = "standard input" if source == "-" else source
        raise FileError(f"can't read {name}: {explain(exc)}") from None


class _Set(KeyCommand):
    """The command, whose VALUE is an argument unless there is --file."""

    def count_arguments(self, options: Mapping[str, Any]) -> tuple[int, int | None]:
        number = 1 if options.get("source") is not None else 2
        return number, number


@server_command("set", cls=_Set)
@server_argument
@key_argument
@click.argument("value", required=False)
@click.option(
    "--file", "source", type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Read the value from this file, or from standard input if it is -. By default, it is the argument VALUE.",
)  # fmt: skip
@click.option(
    "--flags", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
    help="A number that is stored with the value, for the use of clients.",
)  # fmt: skip
@click.option(
    "--expire", "--expiry", "expiry", type=Expiry(), default="never", show_default=True,
    help="When the item expires: after this time, such as 10m. A number alone is in seconds, or, above 2592000, a Unix time.",
)  # fmt: skip
@collection_option
@json_option
@session_options
def set_(
    server: Server,
    key: bytes,
    value: str | None,
    source: str | None,
    flags: int,
    expiry: int,
    collection: str | None,
    as_json: bool,
) -> None:
    """Store VALUE under KEY.

    An earlier value of KEY is replaced.
    """
    if (value is None) == (source is None):
        raise click.UsageError("give either VALUE or --file")
    if source == "-":
        server.keep_stdin()
    data = os.fsencode(value or "") if source is None else _read(source)
    if len(data) > MAX_FRAME:
        raise CliError(f"the value has more than {MAX_FRAME} bytes, the maximum of a request; the limit of a server may be lower")

    async def work(client: Client) -> int:
        with server.answering():
            return await client.set(await request_key(client, key, collection), data, flags=flags, expiry=expiry)

    cas = run_with_client(server, work, negotiate=True)  # so that the server says why it refuses a value
    described = {**_fields(key, collection), "bytes": len(data), "cas": cas}
    click.echo(json.dumps(described) if as_json else f"stored {len(data)} bytes, cas {cas}")


@server_command(cls=KeyCommand)
@server_argument
@key_argument
@collection_option
@json_option
@session_options
def delete(server: Server, key: bytes, collection: str | None, as_json: bool) -> None:
    """Delete the item KEY."""

    async def work(client: Client) -> None:
        with server.answering():
            await client.delete(await request_key(client, key, collection))

    run_with_client(server, work, missing=_missing(key, collection))
    click.echo(json.dumps({**_fields(key, collection), "deleted": True}) if as_json else "deleted")
