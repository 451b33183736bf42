"""Other people's clients, connected to a server for tests. They are imported when a test asks for them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest

from ._server import Server

# Seconds for the SDK to connect. Picked, not measured: on an idle machine it takes a few hundredths.
_READY: Final = 30


@contextmanager
def couchbase_cluster(server: Server) -> Iterator[Any]:
    """Connect Couchbase's SDK, and close it at the end of the block."""
    try:
        from couchbase.auth import PasswordAuthenticator
        from couchbase.cluster import Cluster
        from couchbase.options import ClusterOptions
    except ImportError as exc:
        pytest.fail(f"the fixture couchbase_cluster needs Couchbase's SDK: pip install couchbase ({exc})", pytrace=False)
    login = PasswordAuthenticator(server.username, server.password)
    cluster = Cluster(server.couchbase_connection_string, ClusterOptions(login))
    try:
        cluster.wait_until_ready(timedelta(seconds=_READY))
        yield cluster
    finally:
        cluster.close()


def couchbase_collection(cluster: Any, server: Server) -> Any:
    """Return the first collection that the server was started with, or the default one."""
    if not server.collections:
        return cluster.bucket(server.bucket).default_collection()
    first = server.collections[0]
    return cluster.bucket(first.bucket).scope(first.scope).collection(first.name)


def _pymemcache(server: Server) -> Any:
    client = importlib.import_module("pymemcache.client.base").Client((server.host, server.port))
    if server.users:  # the first `set` of a connection is its login
        client.set("login", f"{server.username} {server.password}", noreply=False)
    return client


def _bmemcached(server: Server) -> Any:
    return importlib.import_module("bmemcached").Client((server.address,), **_login(server))


def _pylibmc(server: Server) -> Any:
    return importlib.import_module("pylibmc").Client([server.address], binary=True, **_login(server))


def _login(server: Server) -> dict[str, str]:
    return {"username": server.username, "password": server.password} if server.users else {}


# By the module: what `pip` calls it, what makes a client, and the name of the method that closes it.
_CLIENTS: Final[dict[str, tuple[str, Callable[[Server], Any], str]]] = {
    "pymemcache": ("pymemcache", _pymemcache, "close"),
    "bmemcached": ("python-binary-memcached", _bmemcached, "disconnect_all"),
    "pylibmc": ("pylibmc", _pylibmc, "disconnect_all"),
}


def _is_installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@contextmanager
def memcached_client(server: Server, chosen: str) -> Iterator[Any]:
    """Make a client for memcached, and close it at the end of the block.

    Args:
        server: Where to connect.
        chosen: The module to take it from, or an empty text for the first that is installed.
    """
    if chosen and chosen not in _CLIENTS:
        raise pytest.UsageError(f"trio_spool_memcached_client must be one of {', '.join(_CLIENTS)}; got {chosen!r}")
    if server.tls:
        pytest.fail("the fixture memcached_client can't use TLS, which the server asks for", pytrace=False)
    allowed = {name: _CLIENTS[name] for name in ([chosen] if chosen else _CLIENTS)}
    installed = next(filter(_is_installed, allowed), None)
    if installed is None:
        packages = " or ".join(package for package, _, _ in allowed.values())
        pytest.fail(f"the fixture memcached_client needs a client for memcached: pip install {packages}", pytrace=False)
    _, make, close = allowed[installed]
    client = make(server)
    try:
        yield client
    finally:
        getattr(client, close)()
