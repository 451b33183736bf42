"""``trio-spool bucket``."""

from __future__ import annotations

import json

import click
import trio
from rich.table import Table
from rich.text import Text

from ..client import Client
from ._commands import print_table
from ._common import ANSWER_TIMEOUT, json_option, run_with_client, server_argument
from ._session import Name, Server, session_options

name_argument = click.argument("name", type=Name())


@click.group()
def bucket() -> None:
    """Make, list and delete a server's buckets, each of which has keys of its own."""


@bucket.command()
@server_argument
@name_argument
@session_options
def create(server: Server, name: str) -> None:
    """Make the bucket NAME. Needs the role admin."""

    async def work(client: Client) -> None:
        with trio.fail_after(ANSWER_TIMEOUT):
            await client.create_bucket(name)

    run_with_client(server, work, negotiate=True)
    click.echo(f"created the bucket {name}")


@bucket.command("list")
@server_argument
@json_option
@session_options
def list_(server: Server, as_json: bool) -> None:
    """Print the buckets that the user may use. With --json, one object a line."""

    async def work(client: Client) -> list[str]:
        with trio.fail_after(ANSWER_TIMEOUT):
            return await client.list_buckets()

    table = Table("bucket")
    for name in run_with_client(server, work, negotiate=True):
        if as_json:
            click.echo(json.dumps({"name": name}))
        else:
            table.add_row(Text(name))
    if not as_json:
        print_table(table)


@bucket.command()
@server_argument
@name_argument
@session_options
def delete(server: Server, name: str) -> None:
    """Delete the bucket NAME and all that it holds. Needs the role admin.

    Connections of others that work on it are closed.
    """

    async def work(client: Client) -> None:
        with trio.fail_after(ANSWER_TIMEOUT):
            await client.delete_bucket(name)

    run_with_client(server, work, negotiate=True)
    click.echo(f"deleted the bucket {name}")
