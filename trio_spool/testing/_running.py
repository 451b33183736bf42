"""Running a server for as long as a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._server import Server

# Without users any login is taken; these are the ones that Couchbase's own documentation uses.
USERNAME: Final = "Administrator"
PASSWORD: Final = "password"
# Seconds. A test that is over does not wait for answers.
DRAIN_TIMEOUT: Final = 1.0


@contextmanager
def running_server(
    *, buckets: Iterable[str] = (), username: str = USERNAME, password: str = PASSWORD, **settings: Any
) -> Iterator[Server]:
    """Run a server in a thread of this process, on a free port of 127.0.0.1, until the block is left.

    It may be used in any thread, and any number of times at once. In an async program it works as well: entering blocks the event
    loop for some milliseconds, and so does leaving, or for as long as `drain_timeout` if a client has a request half sent.

    Args:
        buckets: Are created if they are not there, beside the default one.
        username: Who may log in. Needed if `users` is given and there are `buckets`: these are created by that user.
        password: With what.
        settings: Of `trio_spool.server.Settings`. Unless they say otherwise, everything is kept in memory, or, if there is a
            `data_dir`, there; and it takes no longer than a second to stop, also while clients are connected. A path may be a
            str, and so may `listen` if it is one address.

    Yields:
        The server, which accepts connections.

    Raises:
        SettingsError: The settings can't be used.
        TypeError: There is no such setting.
        ValueError: The first address to listen on is not a TCP address, or a bucket can't be created.
        ListenError: An address can't be listened on.
        DataDirectoryError: The data directory can't be used.
        ServerError: The user who is to create the buckets can't log in.
        Exception: On leaving the block: whatever ended the server before that.
    """
    from ..server import Settings  # loads Trio, storage and more: 0.1 s that only those pay who start a server
    from ._thread import ServerThread

    settings.setdefault("listen", ("tcp://127.0.0.1:0",))
    settings.setdefault("engine", "memory" if settings.get("data_dir") is None else "lmdb")
    settings.setdefault("drain_timeout", DRAIN_TIMEOUT)
    thread = ServerThread(Settings(**settings), tuple(buckets), username, password)
    thread.start()
    try:
        yield thread.wait_started()
    finally:
        thread.stop()
