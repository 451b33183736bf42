"""``trio-spool bucket``."""

from __future__ import annotations

import json

import click

from ..client import Client
from ._commands import Group, print_table
from ._common import ServerCommand, json_option, run_with_client, server_argument
from ._quantities import Size
from ._session import Name, Server, session_options

name_argument = click.argument("name", type=Name())


@click.group(cls=Group)
def bucket() -> None:
    """Create, list and delete the buckets of a server.

    Each bucket has its own keys.
    """


@bucket.command(cls=ServerCommand)
@server_argument
@name_argument
@click.option(
    "--max-size", type=Size(), help="How much its items may take. 0: no bound. By default, what the server's --max-size says."
)
@click.option(
    "--evict",
    type=click.Choice(["size-aware", "none"]),
    help="What happens when they would take more: what is used least for its size is evicted, or what does not fit is refused. By "
    "default, what the server's --evict says.",
)
@session_options
def create(server: Server, name: str, max_size: int | None, evict: str | None) -> None:
    """Create the bucket NAME.

    The user needs the role admin.
    """

    async def work(client: Client) -> None:
        with server.answering():
            await client.create_bucket(name, max_size=max_size, evict=evict)

    run_with_client(server, work, negotiate=True)
    click.echo(f"created the bucket {name}")


@bucket.command("list", cls=ServerCommand)
@server_argument
@json_option
@session_options
def list_(server: Server, as_json: bool) -> None:
    """List the buckets that the user may use.

    With --json, each bucket is an object on its own line.
    """

    async def work(client: Client) -> list[str]:
        with server.answering():
            return await client.list_buckets()

    names = run_with_client(server, work, negotiate=True)
    if as_json:
        for name in names:
            click.echo(json.dumps({"name": name}))
    else:
        print_table(["bucket"], [[name] for name in names])


@bucket.command(cls=ServerCommand)
@server_argument
@name_argument
@session_options
def delete(server: Server, name: str) -> None:
    """Delete the bucket NAME and all its items.

    The user needs the role admin. The server closes other connections that use the bucket.
    """

    async def work(client: Client) -> None:
        with server.answering():
            await client.delete_bucket(name)

    run_with_client(server, work, negotiate=True)
    click.echo(f"deleted the bucket {name}")
