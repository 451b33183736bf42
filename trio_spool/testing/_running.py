"""Running a server while a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._server import Server
    from ._thread import ServerThread

# A server without users takes any login. These are the ones in the documentation of Couchbase.
USERNAME: Final = "Administrator"
PASSWORD: Final = "password"
# Seconds. Picked, not measured: at the end of a test, nobody waits for replies.
DRAIN_TIMEOUT: Final = 1.0


@contextmanager
def running_server(
    *, buckets: Iterable[str] = (), username: str = USERNAME, password: str = PASSWORD, **settings: Any
) -> Iterator[Server]:
    """Run a server in a thread of this process, on a free port of 127.0.0.1, until the block ends.

    Any thread can use this, and any number of servers can run at the same time. It also works in an async program: the event
    loop is blocked for a few milliseconds at the start, and again at the end, there for up to `drain_timeout` if a client has
    sent half a request.

    Args:
        buckets: Buckets to create, unless they exist, beside the default one.
        username: A user who may log in. With `users` and `buckets`, this user creates the buckets.
        password: The password of this user.
        settings: Settings of `trio_spool.server.Settings`. By default, items are kept in memory, or in `data_dir` if there is
            one, and the server stops within a second, even while clients are connected. A path may be a str, and `listen` may
            be one address.

    Yields:
        The server, which accepts connections.

    Raises:
        SettingsError: The settings can't be used.
        TypeError: There is no such setting.
        ValueError: The first address to listen on is not a TCP address, or a bucket can't be created.
        ListenError: The server can't listen on an address.
        DataDirectoryError: The data directory can't be used.
        ServerError: The user who creates the buckets can't log in.
        Exception: At the end of the block: the error that ended the server before.
    """
    from ..server import Settings  # loads Trio and the storage, which takes 0.1 s: only those who start a server pay for it
    from ._thread import ServerThread

    settings.setdefault("listen", ("tcp://127.0.0.1:0",))
    settings.setdefault("engine", "memory" if settings.get("data_dir") is None else "lmdb")
    settings.setdefault("drain_timeout", DRAIN_TIMEOUT)
    with stopping(ServerThread(Settings(**settings), tuple(buckets), username, password)) as server:
        yield server


@contextmanager
def stopping(thread: ServerThread) -> Iterator[Server]:
    """Start the thread of a server, and stop it at the end of the block."""
    thread.start()
    try:
        yield thread.wait_started()
    finally:
        thread.stop()
