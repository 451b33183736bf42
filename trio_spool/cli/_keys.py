"""``trio-spool keys``."""

from __future__ import annotations

import json
import os

import click

from .._formats import visible
from ..client import Client
from ._collections import collection_option
from ._common import json_option, run_with_client, server_argument, server_command
from ._documents import text_fields
from ._output import Chunks, standard_output
from ._session import Server, session_options


@server_command()
@server_argument
@click.option("--prefix", default="", help="Print only keys that start with this. By default, all keys.")
@click.option("--limit", type=click.IntRange(0), metavar="COUNT", help="Stop after COUNT keys. By default, print all.")
@click.option(
    "--null", "-0", "null", is_flag=True, help="Write the bytes of the keys, with a NUL after each, as xargs -0 reads them."
)
@json_option
@collection_option
@session_options
def keys(server: Server, prefix: str, limit: int | None, null: bool, as_json: bool, collection: str | None) -> None:
    r"""Print the keys of all items, in order, one on each line.

    All keys are printed that there were when the command started, as they arrive. Control characters and bytes that are not UTF-8
    are shown as \x and two hexadecimal digits. To get them as they are, use --null, or --json, with which a key that is not UTF-8
    is in base64, as key_base64.
    """
    if null and as_json:
        raise click.UsageError("--null and --json exclude each other: give one of them")

    def line(key: bytes) -> bytes:
        if null:
            return key + b"\0"
        return (json.dumps(text_fields("key", key)) if as_json else visible(key)).encode() + b"\n"

    async def work(client: Client) -> None:
        out = Chunks(standard_output())
        left = limit
        async with client.scan(
            prefix=os.fsencode(prefix), collection=collection or "", keys_only=True, name="trio-spool keys"
        ) as documents:  # fmt: skip
            if left != 0:
                async for document in documents:
                    await out.add(line(document.key))
                    left = None if left is None else left - 1
                    if left == 0:
                        break
        await out.write()

    run_with_client(server, work, negotiate=True)
