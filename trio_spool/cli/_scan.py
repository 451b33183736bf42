"""``trio-spool scan``."""

from __future__ import annotations

import os
from io import RawIOBase
from typing import Any

import click

from ..client import Client
from ._collections import collection_option
from ._common import run_with_client, server_argument, server_command
from ._documents import FORMATS, Formatter
from ._output import Lines, standard_output
from ._places import DEFAULT_BUCKET, DEFAULT_COLLECTION, Place
from ._session import Server, session_options


async def _write_all(client: Client, out: RawIOBase, formatter: Formatter, limit: int | None, **scan: Any) -> None:
    """Write documents as they arrive."""
    count = 0
    lines = Lines(out)
    await lines.add(formatter.header())
    async with client.scan(**scan) as documents:
        if limit != 0:
            async for document in documents:
                await lines.add(formatter.line(document))
                count += 1
                if count == limit:
                    break
    await lines.write()


@server_command()
@server_argument
@click.option("--prefix", help="Print only keys that start with this. By default, all keys.")
@click.option("--start", help="The first key to print. By default, the first one that there is.")
@click.option("--end", help="Stop before this key. By default, do not stop.")
@click.option("--sample", type=click.IntRange(1), metavar="COUNT", help="Print about COUNT random documents. By default, all.")
@click.option(
    "--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, metavar="NUMBER",
    help="Another number chooses another sample.",
)  # fmt: skip
@click.option("--keys-only", is_flag=True, help="Print no values. By default, print them.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="ndjson", show_default=True,
    help="ndjson: a JSON object on each line. csv: with a header. keys: a key on each line, with escapes.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(0), metavar="COUNT", help="Stop after COUNT documents. By default, print all.")
@collection_option
@session_options
def scan(
    server: Server,
    prefix: str | None,
    start: str | None,
    end: str | None,
    sample: int | None,
    seed: int,
    keys_only: bool,
    form: str,
    limit: int | None,
    collection: str | None,
) -> None:
    r"""Print documents, in the order of their keys.

    All documents are printed as they were when the command started. Keys and values that are not UTF-8 are printed in base64. With
    --format csv, so are those with control characters other than tabs and line breaks. With --format keys, control characters and
    bytes that are not UTF-8 are printed as \x and two hexadecimal digits. An expiry is a Unix time in seconds, or 0 for never.
    """
    ranged = start is not None or end is not None
    if (prefix is not None) + ranged + (sample is not None) > 1:
        raise click.UsageError("--prefix, --sample, and --start or --end exclude each other: give one of them")
    keys_only = keys_only or form == "keys"
    place = Place(server.bucket or DEFAULT_BUCKET, collection or DEFAULT_COLLECTION)

    async def work(client: Client) -> None:
        await _write_all(
            client, standard_output(), Formatter(form, keys_only, place), limit, prefix=os.fsencode(prefix or ""),
            start=os.fsencode(start or ""), end=None if end is None else os.fsencode(end), samples=sample, seed=seed,
            collection=collection or "", keys_only=keys_only, name="trio-spool scan",
        )  # fmt: skip

    run_with_client(server, work, negotiate=True)
