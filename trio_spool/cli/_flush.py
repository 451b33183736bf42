"""``trio-spool flush``."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Final

import click

from ..client import AccessError, Client, NotFoundError
from ..mcbp import Opcode
from ._collections import collection_option
from ._common import json_option, run_with_client, server_argument, server_command
from ._errors import ConnectionFailedError
from ._keyspace import request_prefix
from ._places import DEFAULT_BUCKET
from ._session import Server, session_options

# Requests that wait for their replies at the same time. Picked, as for `load`.
_AHEAD: Final = 512


@server_command()
@server_argument
@collection_option
@json_option
@session_options
def flush(server: Server, collection: str | None, as_json: bool) -> None:
    """Delete all items of a bucket, or of one collection.

    This can't be undone. Without --collection, the items of all collections of the bucket are deleted at once; the collections
    stay. With --collection, the items that it has when the command starts are deleted one after the other.

    A server that is run with --disable-flush refuses to delete all items.
    """
    name = server.bucket or DEFAULT_BUCKET

    async def work(client: Client) -> int | None:
        if collection is not None:
            return await _delete_all(client, collection)
        try:
            with server.answering():
                await client.flush()
        except AccessError as exc:
            raise ConnectionFailedError(f"{exc}: the user needs the role admin for the bucket") from None
        return None

    # A server of Couchbase's kind has no FLUSH; this one has it for clients that ask for none of those features.
    count = run_with_client(server, work, negotiate=collection is not None)
    if as_json:
        place = {"bucket": name} if collection is None else {"bucket": name, "collection": collection}
        click.echo(json.dumps({**place, "flushed": True} | ({} if count is None else {"deleted": count})))
    elif count is None:
        click.echo(f"deleted all items of the bucket {name}")
    else:
        click.echo(f"deleted {count} items of the collection {collection} of the bucket {name}")


async def _delete_all(client: Client, collection: str) -> int:
    """Delete the items of a collection, and return their number. Those that somebody else deletes meanwhile do not count."""
    prefix = await request_prefix(client, collection)
    waiting: deque[Any] = deque()
    count = 0

    async def settle_first() -> None:
        nonlocal count
        try:
            await waiting.popleft().expect_success()
            count += 1
        except NotFoundError:
            pass

    async with client.scan(collection=collection, keys_only=True, name="trio-spool flush") as documents:
        async for document in documents:
            waiting.append(await client.start(Opcode.DELETE, key=prefix + document.key))
            while len(waiting) >= _AHEAD:
                await settle_first()
    while waiting:
        await settle_first()
    return count
