"""``trio-spool collection``."""

from __future__ import annotations

import json

import click

from ..client import AccessError, Client, Collection, Collections, Scope
from ._commands import Group, print_table
from ._common import ServerCommand, json_option, run_with_client, server_argument
from ._quantities import WholeSeconds
from ._session import Name, Server, session_options

# The maximum number of digits of a number of items or bytes: those of 64 bits.
_DIGITS = 20


class CollectionPath(Name):
    """``SCOPE.COLLECTION``."""

    name = "SCOPE.COLLECTION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a path."""
        scope, _, name = super().convert(value, param, ctx).partition(".")
        if not scope or not name or "." in name:
            self.fail(f"{value!r} is not SCOPE.COLLECTION; an example is shop.orders", param, ctx)
        return value


collection_option = click.option(
    "--collection", type=CollectionPath(), help="Use this collection. By default, use _default._default."
)  # fmt: skip


@click.group(cls=Group)
def collection() -> None:
    """Create, list and drop the collections of a bucket.

    Each collection has its own keys. Collections are grouped in scopes: two scopes can have collections of the same name. The
    option --bucket chooses the bucket.
    """


@collection.command(cls=ServerCommand)
@server_argument
@click.argument("path", type=CollectionPath(), metavar="SCOPE.COLLECTION")
@click.option(
    "--max-ttl", type=WholeSeconds(2**31 - 1), default=0, show_default=True,
    help="The longest time until an item of the collection expires; 0 for no limit.",
)  # fmt: skip
@session_options
def create(server: Server, path: str, max_ttl: int) -> None:
    """Create a collection, and its scope if that does not exist.

    The user needs the role admin.
    """

    async def work(client: Client) -> Collections:
        with server.answering():
            return await client.change_collections(lambda old: old.with_collection(path, max_ttl))

    created = run_with_client(server, work, negotiate=True).find(path)
    assert created is not None
    click.echo(f"created the collection {path}, id 0x{created.id:x}")


@collection.command(cls=ServerCommand)
@server_argument
@click.argument("path", type=Name(), metavar="SCOPE.COLLECTION")
@click.option("--scope", "with_scope", is_flag=True, help="Also drop the scope, if it has no other collection.")
@session_options
def drop(server: Server, path: str, with_scope: bool) -> None:
    """Drop a collection and all its items.

    The user needs the role admin. With --scope, the argument may also be the name of a SCOPE that has no collections.
    """
    alone = with_scope and "." not in path
    if not alone:
        path = CollectionPath().convert(path, None, None)

    async def work(client: Client) -> None:
        with server.answering():
            await client.change_collections(
                lambda old: old.without_scope(path) if alone else old.without_collection(path, scope=with_scope)
            )

    run_with_client(server, work, negotiate=True)
    click.echo(f"dropped the {'scope' if alone else 'collection'} {path}")


@collection.command("list", cls=ServerCommand)
@server_argument
@json_option
@session_options
def list_(server: Server, as_json: bool) -> None:
    """List the collections of a bucket.

    For a user with the role stats, this includes the number of items and of bytes of each collection.

    With --json, each collection is an object on its own line.
    """

    async def work(client: Client) -> tuple[Collections, dict[str, int | None]]:
        with server.answering():
            found = await client.collections()
            wanted = {_statistic(scope, one, kind).encode() for scope, one in found for kind in ("items", "data_size")}
            try:
                async with client.stat("collections") as statistics:
                    return found, {name.decode(): _number(value) async for name, value in statistics if name in wanted}
            except AccessError:
                return found, {}

    found, statistics = run_with_client(server, work, negotiate=True)
    rows: list[list[str]] = []
    for scope in found.scopes:
        for one in scope.collections:
            items, size = (statistics.get(_statistic(scope, one, kind)) for kind in ("items", "data_size"))
            if as_json:
                described = {"scope": scope.name, "collection": one.name, "id": one.id, "max_ttl": one.max_ttl}
                described |= {"items": items, "data_size": size}
                click.echo(json.dumps(described))
            rows.append(
                [
                    scope.name,
                    one.name,
                    f"0x{one.id:x}",
                    str(one.max_ttl or ""),
                    *("" if number is None else str(number) for number in (items, size)),
                ]
            )
        if not scope.collections:
            rows.append([scope.name])
    if not as_json:
        print_table(["scope", "collection", "id", "max TTL", "items", "bytes"], rows)


def _statistic(scope: Scope, collection: Collection, kind: str) -> str:
    return f"0x{scope.id:x}:0x{collection.id:x}:{kind}"


def _number(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= _DIGITS else None
