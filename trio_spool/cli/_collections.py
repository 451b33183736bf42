"""``trio-spool collection``."""

from __future__ import annotations

import json

import click
import trio
from rich.table import Table
from rich.text import Text

from ..client import AccessError, Client, Collections
from ._commands import print_table
from ._common import ANSWER_TIMEOUT, json_option, run_with_client, server_argument
from ._session import Name, Server, session_options


class CollectionPath(Name):
    """``SCOPE.COLLECTION``."""

    name = "SCOPE.COLLECTION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it."""
        scope, _, name = super().convert(value, param, ctx).partition(".")
        if not scope or not name or "." in name:
            self.fail(f"{value!r} is not SCOPE.COLLECTION, as in shop.orders", param, ctx)
        return value


collection_option = click.option("--collection", type=CollectionPath(), help="This collection, instead of the default one.")


@click.group()
def collection() -> None:
    """Make, list and drop the collections of a bucket, each of which has keys of its own.

    They are in scopes, which keep the names apart. The bucket is the one that --bucket says.
    """


@collection.command()
@server_argument
@click.argument("path", type=CollectionPath())
@click.option(
    "--max-ttl", type=click.IntRange(0, 2**31 - 1), default=0, metavar="SECONDS",
    help="When what is stored there expires at the latest; 0 for never.", show_default=True,
)  # fmt: skip
@session_options
def create(server: Server, path: str, max_ttl: int) -> None:
    """Make the collection PATH, which is SCOPE.COLLECTION, and its scope if it is missing. Needs the role admin."""

    async def work(client: Client) -> Collections:
        with trio.fail_after(ANSWER_TIMEOUT):
            return await client.change_collections(lambda old: old.with_collection(path, max_ttl))

    created = run_with_client(server, work, negotiate=True).find(path)
    assert created is not None
    click.echo(f"created the collection {path}, id 0x{created.id:x}")


@collection.command()
@server_argument
@click.argument("path", type=Name())
@click.option("--scope", "with_scope", is_flag=True, help="Drop its scope as well, if that has no other collection.")
@session_options
def drop(server: Server, path: str, with_scope: bool) -> None:
    """Drop the collection PATH, which is SCOPE.COLLECTION, and all that it holds. Needs the role admin.

    With --scope, PATH may be a SCOPE alone, which has no collections.
    """
    alone = with_scope and "." not in path
    if not alone:
        path = CollectionPath().convert(path, None, None)

    async def work(client: Client) -> None:
        with trio.fail_after(ANSWER_TIMEOUT):
            await client.change_collections(
                lambda old: old.without_scope(path) if alone else old.without_collection(path, scope=with_scope)
            )

    run_with_client(server, work, negotiate=True)
    click.echo(f"dropped the {'scope' if alone else 'collection'} {path}")


@collection.command("list")
@server_argument
@json_option
@session_options
def list_(server: Server, as_json: bool) -> None:
    """Print the collections, with their items and bytes, if the user has the role stats. With --json, one object a line."""

    async def work(client: Client) -> tuple[Collections, dict[str, str]]:
        with trio.fail_after(ANSWER_TIMEOUT):
            found = await client.collections()
            try:
                async with client.stat("collections") as statistics:
                    return found, {name.decode(): value.decode() async for name, value in statistics}
            except AccessError:
                return found, {}

    found, statistics = run_with_client(server, work, negotiate=True)
    table = Table("scope", "collection", "id", "max TTL", "items", "bytes")
    for scope in found.scopes:
        for one in scope.collections:
            place = f"0x{scope.id:x}:0x{one.id:x}:"
            items, size = (statistics.get(place + name) for name in ("items", "data_size"))
            if as_json:
                described = {"scope": scope.name, "collection": one.name, "id": one.id, "max_ttl": one.max_ttl}
                described |= {"items": _number(items), "data_size": _number(size)}
                click.echo(json.dumps(described))
            else:
                table.add_row(Text(scope.name), Text(one.name), f"0x{one.id:x}", str(one.max_ttl or ""), items, size)
        if not scope.collections and not as_json:
            table.add_row(Text(scope.name))
    if not as_json:
        print_table(table)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
