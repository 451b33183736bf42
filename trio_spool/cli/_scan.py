"""``trio-spool scan`` and ``trio-spool dump``."""

from __future__ import annotations

import os
from io import RawIOBase
from pathlib import Path
from typing import Any

import click

from ..client import Client
from ._collections import collection_option
from ._common import run_with_client, server_argument
from ._documents import FORMATS, Formatter
from ._output import Lines, open_output, standard_output
from ._session import Server, session_options


async def _write_all(client: Client, out: RawIOBase, formatter: Formatter, limit: int | None, **scan: Any) -> int:
    """Write documents as they arrive, and return how many."""
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
    return count


@click.command()
@server_argument
@click.option("--prefix", help="Only keys that begin so.")
@click.option("--start", help="The first key.")
@click.option("--end", help="What comes behind the last key.")
@click.option("--sample", type=click.IntRange(1), help="Instead of all documents, a random sample of about so many.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Decides which are in the sample.")
@click.option("--keys-only", is_flag=True, help="Leave the values out.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="ndjson", show_default=True)
@click.option("--limit", type=click.IntRange(0), help="Stop after so many.")
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
    """Print documents in the order of their keys, all as they were when this began.

    Keys and values that are not UTF-8 are printed in base64. An expiry is a Unix time; 0 is never.
    """
    ranged = start is not None or end is not None
    if (prefix is not None) + ranged + (sample is not None) > 1:
        raise click.UsageError("give --prefix, or --start and --end, or --sample: only one of these")
    keys_only = keys_only or form == "keys"

    async def work(client: Client) -> None:
        await _write_all(
            client, standard_output(), Formatter(form, keys_only), limit, prefix=os.fsencode(prefix or ""),
            start=os.fsencode(start or ""), end=None if end is None else os.fsencode(end), samples=sample, seed=seed,
            collection=collection or "", keys_only=keys_only, name="trio-spool scan",
        )  # fmt: skip

    run_with_client(server, work, negotiate=True)


@click.command()
@server_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), required=False)
@click.option("--prefix", default="", help="Only keys that begin so.")
@collection_option
@session_options
def dump(server: Server, file: Path | None, prefix: str, collection: str | None) -> None:
    """Write all documents as NDJSON, to FILE or to standard output (also -), in the form that "load" reads.

    Nothing is lost: keys and values that are not UTF-8 are in base64, and flags, expiries and datatypes are kept. FILE appears when
    it is complete, unless it is a device or a FIFO, which is written to.
    """

    async def work_on(client: Client, out: RawIOBase) -> int:
        return await _write_all(
            client, out, Formatter("ndjson", keys_only=False), None, prefix=os.fsencode(prefix), collection=collection or "",
            name="trio-spool dump",
        )  # fmt: skip

    if file is None or str(file) == "-":
        count = run_with_client(server, lambda client: work_on(client, standard_output()), negotiate=True)
    else:
        with open_output(file) as out:
            count = run_with_client(server, lambda client: work_on(client, out), negotiate=True)
    if file is not None:
        click.echo(f"dumped {count} documents", err=True)
