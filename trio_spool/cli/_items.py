"""``trio-spool set`` and ``delete``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from .._files import explain
from ..client import Client, NotFoundError
from ..mcbp import MAX_FRAME
from ._collections import collection_option
from ._common import KeyCommand, json_option, run_with_client, server_argument, server_command
from ._errors import CliError, FileError
from ._keys_of_items import fields_of, key_argument, keys_argument, report_missing
from ._keyspace import request_prefix
from ._quantities import Expiry
from ._session import Server, session_options


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
        raise click.UsageError("give either VALUE or --file; a VALUE that begins with a dash needs -- before it")
    if source == "-":
        server.keep_stdin()
    data = os.fsencode(value or "") if source is None else _read(source)
    if len(data) > MAX_FRAME:
        raise CliError(f"the value has more than {MAX_FRAME} bytes, the maximum of a request; the limit of a server may be lower")

    async def work(client: Client) -> int:
        with server.answering():
            return await client.set(await request_prefix(client, collection) + key, data, flags=flags, expiry=expiry)

    cas = run_with_client(server, work, negotiate=True)  # so that the server says why it refuses a value
    described = {**fields_of(key, collection), "bytes": len(data), "cas": cas}
    click.echo(json.dumps(described) if as_json else f"stored {len(data)} bytes, cas {cas}")


@server_command(cls=KeyCommand)
@server_argument
@keys_argument
@collection_option
@json_option
@session_options
def delete(server: Server, keys: tuple[bytes, ...], collection: str | None, as_json: bool) -> None:
    """Delete the item of each KEY.

    Keys that do not exist are named on standard error, and the exit status is 1.
    """
    absent: list[bytes] = []

    async def work(client: Client) -> None:
        prefix = await request_prefix(client, collection)
        for key in keys:
            try:
                with server.answering():
                    await client.delete(prefix + key)
            except NotFoundError:
                absent.append(key)
            else:
                click.echo(json.dumps({**fields_of(key, collection), "deleted": True}) if as_json else "deleted")

    run_with_client(server, work)
    report_missing(absent, collection)
