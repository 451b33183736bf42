"""Running a server while a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._hosted import HostedServer
    from ._server import Server
    from ._thread import ServerThread

# A server without users takes any login. These are the ones in the documentation of Couchbase.
USERNAME: Final = "Administrator"
PASSWORD: Final = "password"
# Seconds. Picked, not measured: at the end of a test, nobody waits for replies.
DRAIN_TIMEOUT: Final = 1.0


@contextmanager
def running_server(
    *, buckets: Iterable[str] = (), username: str = USERNAME, password: str = PASSWORD, thread: bool = False, **settings: Any
) -> Iterator[Server]:
    """Run a server on a free port of 127.0.0.1 until the block ends.

    It runs in a process of its own, which the first call starts and all others use: each call gets another server there, which
    shares nothing with the others. Any thread can use this, and any number of servers can run at the same time. It also works in
    an async program: the event loop is blocked for a few milliseconds at the start, longer at the first one, and again at the end,
    there for up to `drain_timeout` if a client has sent half a request.

    Args:
        buckets: Buckets to create, unless they exist, beside the default one.
        username: A user who may log in. With `users` and `buckets`, this user creates the buckets.
        password: The password of this user.
        thread: Run the server in a thread of this process instead. Then a debugger reaches it, and settings may be any objects,
            such as an engine of your own. But a client that keeps the interpreter while it waits gets no answer: every scan of
            Couchbase's SDK fails after 75 seconds.
        settings: Settings of `trio_spool.server.Settings`. By default, items are kept in memory, or in `data_dir` if there is
            one, and the server stops within a second, even while clients are connected. A path may be a str, and `listen` may
            be one address.

    Yields:
        The server, which accepts connections.

    Raises:
        SettingsError: The settings can't be used.
        TypeError: There is no such setting.
        ValueError: The first address to listen on is not a TCP address, a bucket can't be created, or a setting can't be sent to
            another process.
        ListenError: The server can't listen on an address.
        DataDirectoryError: The data directory can't be used.
        ServerError: The user who creates the buckets can't log in.
        ServerDiedError: The process of the server has ended.
        Exception: At the end of the block: the error that ended the server before.
    """
    settings.setdefault("listen", ("tcp://127.0.0.1:0",))
    settings.setdefault("engine", "memory" if settings.get("data_dir") is None else "lmdb")
    settings.setdefault("drain_timeout", DRAIN_TIMEOUT)
    with stopping(_make(thread, settings, buckets=tuple(buckets), username=username, password=password)) as server:
        yield server


def _make(thread: bool, settings: dict[str, Any], **job: Any) -> HostedServer | ServerThread:
    if not thread:
        from ._hosted import HostedServer

        return HostedServer(settings, **job)
    from ._job import Job  # loads Trio and the storage, which takes 0.1 s: only those who start a server here pay for it
    from ._thread import ServerThread

    return ServerThread(Job(settings, **job))


@contextmanager
def stopping(running: HostedServer | ServerThread) -> Iterator[Server]:
    """Start a server, and stop it at the end of the block."""
    running.start()
    try:
        yield running.wait_started()
    finally:
        running.stop()
