"""Running a server while a block runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ._accounts import login_of, users_file
from ._contents import names_in, parse_collection

if TYPE_CHECKING:
    from ._hosted import HostedServer
    from ._server import Server
    from ._thread import ServerThread

# Seconds. Picked, not measured: at the end of a test, nobody waits for replies.
DRAIN_TIMEOUT: Final = 1.0


@contextmanager
def running_server(
    *,
    buckets: Iterable[str] = (),
    collections: Iterable[str] = (),
    users: str | os.PathLike[str] | Mapping[str, str | tuple[str, ...]] | None = None,
    username: str | None = None,
    password: str | None = None,
    thread: bool = False,
    **settings: Any,
) -> Iterator[Server]:
    """Run a server on a free port of 127.0.0.1 until the block ends.

    It runs in a process of its own, which the first call starts and all others use: each call gets another server there, which
    shares nothing with the others. Any thread can use this, and any number of servers can run at the same time. It also works in
    an async program: the event loop is blocked for a few milliseconds at the start, longer at the first one, and again at the end,
    there for up to `drain_timeout` if a client has sent half a request.

    Args:
        buckets: Buckets to create, unless they exist, beside the default one.
        collections: Collections to create, unless they exist, with their scopes: ``SCOPE.COLLECTION`` in the default bucket, or
            ``BUCKET:SCOPE.COLLECTION`` in another one.
        users: Who may log in: a mapping of names to passwords, such as ``{"ada": "secret"}``, or the path of a file of users. A
            name may have a tuple of a password and roles, such as ``("secret", "read", "orders:write")``; with a password alone, a
            user may do everything. By default, anybody may log in.
        username: A user who may log in. With `users`, this user creates the buckets and collections. By default, the first user of
            the mapping who may do everything; without a mapping, ``Administrator``.
        password: The password of this user. By default, the one in the mapping; without a mapping, ``password``.
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
        ValueError: The first address to listen on is not a TCP address, a bucket, a collection or a user can't be created, or a
            setting can't be sent to another process.
        ListenError: The server can't listen on an address.
        DataDirectoryError: The data directory can't be used.
        ServerError: The user who creates the buckets and collections can't log in.
        ServerDiedError: The process of the server has ended.
        Exception: At the end of the block: the error that ended the server before.
    """
    settings.setdefault("listen", ("tcp://127.0.0.1:0",))
    settings.setdefault("engine", "memory" if settings.get("data_dir") is None else "lmdb")
    settings.setdefault("drain_timeout", DRAIN_TIMEOUT)
    username, password = login_of(users, username, password)
    job = {
        "buckets": names_in("buckets", buckets),
        "collections": tuple(map(parse_collection, names_in("collections", collections))),
        "username": username,
        "password": password,
    }
    with users_file(users) as path:
        if path is not None:
            settings["users"] = path
        with stopping(_make(thread, settings, **job)) as server:
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
