"""``trio-spool get``, ``set`` and ``delete``."""

from __future__ import annotations

import json
import os
import sys

import click
import trio
from rich.table import Table

from ..client import Client, StoredValue
from ..mcbp import MAX_FRAME
from ._commands import print_table
from ._common import ANSWER_TIMEOUT, json_option, run_with_client, server_argument, visible
from ._documents import text_fields
from ._session import Server, session_options


def _named(key: str) -> dict[str, str]:
    """Return the field that says which key it was."""
    return text_fields("key", os.fsencode(key))


def _key(text: str) -> bytes:
    key = os.fsencode(text)  # as it was given: a key need not be UTF-8
    if not 0 < len(key) <= 250:
        raise click.BadParameter(f"a key has 1 to 250 bytes; this one has {len(key)}", param_hint="KEY")
    return key


def _missing(key: str) -> str:
    return f"not found: there is no key {key!r} here"


@click.command()
@server_argument
@click.argument("key")
@json_option
@click.option("--raw", is_flag=True, help="Write the value alone, byte for byte.")
@session_options
def get(server: Server, key: str, as_json: bool, raw: bool) -> None:
    """Print what is stored under KEY."""

    async def work(client: Client) -> StoredValue:
        with trio.fail_after(ANSWER_TIMEOUT):
            return await client.get(_key(key))

    stored = run_with_client(server, work, missing=_missing(key))
    if raw:
        sys.stdout.buffer.write(stored.value)
        sys.stdout.buffer.flush()
    elif as_json:
        described = {"flags": stored.flags, "cas": stored.cas}
        click.echo(json.dumps({**_named(key), **described, **text_fields("value", stored.value)}))
    else:
        table = Table("key", "flags", "cas", "bytes", "value")
        numbers = map(str, (stored.flags, stored.cas, len(stored.value)))
        table.add_row(visible(os.fsencode(key)), *numbers, visible(stored.value))
        print_table(table)


def _read(source: str) -> bytes:
    with click.open_file(source, "rb") as file:
        return bytes(file.read())


@click.command("set")
@server_argument
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--file", "source", type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Take the value from a file; - for standard input.",
)  # fmt: skip
@click.option("--flags", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--expiry", type=click.IntRange(0, 2**32 - 1), default=0, help="Seconds (up to 30 days), or a Unix time.")
@json_option
@session_options
def set_(
    server: Server,
    key: str,
    value: str | None,
    source: str | None,
    flags: int,
    expiry: int,
    as_json: bool,
) -> None:
    """Store VALUE under KEY."""
    if (value is None) == (source is None):
        raise click.UsageError("give a VALUE, or --file")
    if source == "-":
        server.keep_stdin()
    data = os.fsencode(value or "") if source is None else _read(source)
    if len(data) > MAX_FRAME:
        raise click.ClickException(f"a value of {len(data)} bytes; a request has at most {MAX_FRAME}, and a server may take less")

    async def work(client: Client) -> int:
        with trio.fail_after(ANSWER_TIMEOUT):
            return await client.set(_key(key), data, flags=flags, expiry=expiry)

    cas = run_with_client(server, work, negotiate=True)  # so that the server says why it refuses a value
    click.echo(json.dumps({**_named(key), "bytes": len(data), "cas": cas}) if as_json else f"stored {len(data)} bytes, cas {cas}")


@click.command()
@server_argument
@click.argument("key")
@json_option
@session_options
def delete(server: Server, key: str, as_json: bool) -> None:
    """Delete KEY."""

    async def work(client: Client) -> None:
        with trio.fail_after(ANSWER_TIMEOUT):
            await client.delete(_key(key))

    run_with_client(server, work, missing=_missing(key))
    click.echo(json.dumps({**_named(key), "deleted": True}) if as_json else "deleted")
