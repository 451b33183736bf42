"""The thread that a server for tests runs in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from urllib.parse import urlsplit

import trio

from .._core import raise_the_one
from ..client import Client, ExistsError, ServerError, open_client
from ..mcbp import Opcode
from ..server import Settings, serve
from ._server import Server

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class ServerThread:
    """A server in a thread with its own event loop. Any other thread can call the methods.

    Args:
        settings: The settings of the server.
        buckets: The buckets to create.
        username: The user who creates them, if there are users.
        password: The password of this user.
        serve: What runs instead of `trio_spool.server.serve`, for tests.

    Raises:
        ValueError: The first address to listen on is not a TCP address.
    """

    def __init__(
        self,
        settings: Settings,
        buckets: tuple[str, ...],
        username: str,
        password: str,
        serve: Callable[..., Awaitable[None]] | None = None,
    ) -> None:
        if urlsplit(settings.listen[0]).scheme not in ("tcp", "tls"):
            raise ValueError(f"the first address to listen on must be a TCP address; got {settings.listen[0]!r}")
        self._settings = settings
        self._buckets = buckets
        self._username = username
        self._password = password
        self._serve_instead = serve
        # The thread writes these: first the token, and after `_started` is done only the failure.
        self._token: trio.lowlevel.TrioToken | None = None
        self._started: Future[Server] = Future()
        self._failure: BaseException | None = None
        self._stop = trio.Event()  # of the thread's event loop
        # A daemon: a server that an abandoned generator has left running does not keep the process from ending.
        self._thread = threading.Thread(target=self._run_in_thread, name="trio-spool-testing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_started(self) -> Server:
        """Wait until the server accepts connections and the buckets exist.

        Raises:
            Exception: The error that kept the server from starting.
        """
        return self._started.result()

    def stop(self) -> None:
        """Stop the server, and wait for the thread.

        Raises:
            Exception: The error that ended the server after it had started.
        """
        if sys.is_finalizing():
            return  # the interpreter has stopped the thread, and waiting for it would never end
        wait([self._started])
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._stop.set)
            except trio.RunFinishedError:
                pass  # the server has already ended
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run_in_thread(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as exc:  # raised again in the thread that waits
            if self._started.done():
                self._failure = exc
            else:
                self._started.set_exception(exc)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                addresses = await nursery.start(self._serve)
                await self._create_buckets(addresses)
                first = urlsplit(addresses[0])
                assert first.hostname is not None and first.port is not None
                self._started.set_result(
                    Server(
                        host=first.hostname,
                        port=first.port,
                        username=self._username,
                        password=self._password,
                        tls=first.scheme == "tls",
                    )
                )
        except BaseExceptionGroup as group:
            raise_the_one(group)

    async def _serve(self, task_status: trio.TaskStatus[list[str]]) -> None:
        await (self._serve_instead or serve)(self._settings, task_status=task_status, stop=self._stop)

    async def _create_buckets(self, addresses: list[str]) -> None:
        if not self._buckets:
            return
        plain = next((url for url in map(urlsplit, addresses) if url.scheme == "tcp"), None)
        if plain is None or plain.hostname is None or plain.port is None:
            raise ValueError("buckets can only be created without TLS: also listen on a tcp:// address")
        async with open_client(plain.hostname, plain.port) as client:
            if self._settings.users is not None:
                login = b"\0".join([b"", self._username.encode(), self._password.encode()])
                await _call(client, Opcode.SASL_AUTH, b"PLAIN", login)
            for name in self._buckets:
                try:
                    await _call(client, Opcode.CREATE_BUCKET, name.encode())
                except ExistsError:
                    pass  # from an earlier run in the same data directory
                except ServerError as exc:
                    raise ValueError(f"the bucket {name!r} can't be created: {exc}") from exc


async def _call(client: Client, opcode: Opcode, key: bytes, value: bytes = b"") -> None:
    call = await client.start(opcode, key=key, value=value)
    await call.expect_success()
