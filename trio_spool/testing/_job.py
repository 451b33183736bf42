"""Running one server for a test, in whatever event loop: in a thread of the test's process, or in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from .._core import raise_the_one
from ..client import Client, ExistsError, ServerError, open_client
from ..mcbp import Opcode
from ..server import Settings, serve
from ._server import Server

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


@attrs.frozen
class Job:
    """What server to run.

    Attributes:
        settings: The settings of the server, by their names.
        buckets: The buckets to create.
        username: The user who creates them, if there are users.
        password: The password of this user.
        serve: What runs instead of `trio_spool.server.serve`, for tests.
    """

    settings: Mapping[str, Any]
    buckets: tuple[str, ...]
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
            await _create_buckets(job, addresses, login=settings.users is not None)
            task_status.started(_describe(job, addresses[0]))
    except BaseExceptionGroup as group:
        raise_the_one(group)


def _describe(job: Job, address: str) -> Server:
    first = urlsplit(address)
    assert first.hostname is not None and first.port is not None
    return Server(
        host=first.hostname, port=first.port, username=job.username, password=job.password, tls=first.scheme == "tls"
    )  # fmt: skip


async def _create_buckets(job: Job, addresses: list[str], *, login: bool) -> None:
    if not job.buckets:
        return
    plain = next((url for url in map(urlsplit, addresses) if url.scheme == "tcp"), None)
    if plain is None or plain.hostname is None or plain.port is None:
        raise ValueError("buckets can only be created without TLS: also listen on a tcp:// address")
    async with open_client(plain.hostname, plain.port) as client:
        if login:
            await _call(client, Opcode.SASL_AUTH, b"PLAIN", b"\0".join([b"", job.username.encode(), job.password.encode()]))
        for name in job.buckets:
            try:
                await _call(client, Opcode.CREATE_BUCKET, name.encode())
            except ExistsError:
                pass  # from an earlier run in the same data directory
            except ServerError as exc:
                raise ValueError(f"the bucket {name!r} can't be created: {exc}") from exc


async def _call(client: Client, opcode: Opcode, key: bytes, value: bytes = b"") -> None:
    call = await client.start(opcode, key=key, value=value)
    await call.expect_success()
