"""Running one server for a test, in whatever event loop: in a thread of the test's process, or in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from .._core import raise_the_one
from ..client import Collections, ExistsError, ServerError, open_client
from ..server import Settings, serve
from ._contents import Collection
from ._server import Server

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


@attrs.frozen
class Job:
    """What server to run.

    Attributes:
        settings: The settings of the server, by their names.
        buckets: The buckets to create.
        collections: The collections to create, with their scopes.
        username: The user who creates them, if there are users.
        password: The password of this user.
        serve: What runs instead of `trio_spool.server.serve`, for tests.
    """

    settings: Mapping[str, Any]
    buckets: tuple[str, ...]
    collections: tuple[Collection, ...]
    username: str
    password: str = attrs.field(repr=False)
    serve: Callable[..., Awaitable[None]] | None = None


async def run(job: Job, *, stop: trio.Event, task_status: trio.TaskStatus[Server]) -> None:
    """Run a server until it is stopped.

    Args:
        job: What server.
        stop: Stops it.
        task_status: Receives the server once it accepts connections and the buckets exist.

    Raises:
        Exception: As `running_server` raises it, or whatever ended the server.
    """
    settings = Settings(**job.settings)
    if urlsplit(settings.listen[0]).scheme not in ("tcp", "tls"):
        raise ValueError(f"the first address to listen on must be a TCP address; got {settings.listen[0]!r}")
    try:
        async with trio.open_nursery() as nursery:

            async def serve_it(task_status: trio.TaskStatus[list[str]]) -> None:
                await (job.serve or serve)(settings, task_status=task_status, stop=stop)

            addresses = await nursery.start(serve_it)
            await _create_contents(job, addresses, login=settings.users is not None)
            task_status.started(_describe(job, addresses[0], login=settings.users is not None))
    except BaseExceptionGroup as group:
        raise_the_one(group)


def _describe(job: Job, address: str, *, login: bool) -> Server:
    first = urlsplit(address)
    assert first.hostname is not None and first.port is not None
    return Server(
        host=first.hostname, port=first.port, username=job.username, password=job.password, tls=first.scheme == "tls",
        users=login, buckets=job.buckets, collections=job.collections,
    )  # fmt: skip


async def _create_contents(job: Job, addresses: list[str], *, login: bool) -> None:
    """Create the buckets and the collections."""
    if not job.buckets and not job.collections:
        return
    plain = next((url for url in map(urlsplit, addresses) if url.scheme == "tcp"), None)
    if plain is None or plain.hostname is None or plain.port is None:
        raise ValueError("buckets and collections can only be created without TLS: also listen on a tcp:// address")
    username, password = (job.username, job.password) if login else (None, None)
    async with open_client(plain.hostname, plain.port, username=username, password=password) as client:
        for name in job.buckets:
            try:
                await client.create_bucket(name)
            except ExistsError:
                pass  # from an earlier run in the same data directory
            except ServerError as exc:
                raise ValueError(f"the bucket {name!r} can't be created: {exc}") from exc
        for bucket, collections in groupby(sorted(job.collections, key=attrgetter("bucket")), attrgetter("bucket")):
            try:
                await client.select_bucket(bucket)
                await client.change_collections(partial(_with_all, list(collections)))
            except ServerError as exc:
                raise ValueError(f"the collections of the bucket {bucket!r} can't be created: {exc}") from exc


def _with_all(wanted: list[Collection], there: Collections) -> Collections:
    for collection in wanted:
        if there.find(collection.path) is None:  # an earlier run in the same data directory may have made it
            there = there.with_collection(collection.path)
    return there
