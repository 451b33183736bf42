"""pytest's plugin: servers, and other people's clients that are connected to them, as fixtures.

pytest imports this module at each start, in every environment where this package is installed. Therefore each fixture imports
what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ._options import MARKER, REFUSAL, add_options, configured, refuse_ignored_markers, scope_of, wanted

if TYPE_CHECKING:
    from ._server import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the configuration file."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker.

    An unknown scope is refused here already: where fixtures are made, pytest takes an error for a failure of its own.
    """
    scope_of("", config)
    line = (
        "(**arguments): run trio_spool_server with these arguments of running_server, such as vbuckets=64 or users={'ada': 'pw'}."
    )
    config.addinivalue_line("markers", MARKER + line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse markers that would be ignored."""
    try:
        refuse_ignored_markers(items, config)
    except pytest.UsageError as exc:
        if not hasattr(config, "workerinput"):
            raise
        config.stash[REFUSAL] = str(exc)  # pytest-xdist loses what its workers raise here, so each fixture raises it


@pytest.fixture(scope=scope_of)
def trio_spool_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running trio-spool server on a free port, without items; see `trio_spool.testing.Server`. It stops after the test.

    It runs in another process, which the first test starts. If that process ends, the test has an error. The markers ``trio_spool``
    and the configuration say what server it is. The option ``trio_spool_scope`` lets several tests share it.
    """
    from ._running import running_server

    with running_server(**wanted(request)) as server:
        yield server


@pytest.fixture(scope="session")
def trio_spool_session_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server like `trio_spool_server` that all tests share: what one test stores, another one finds. No marker changes it."""
    from ._running import running_server

    with running_server(**configured(request.config)) as server:
        yield server


@pytest.fixture(scope=scope_of)
def couchbase_cluster(trio_spool_server: Server) -> Iterator[Any]:
    """A `couchbase.cluster.Cluster` that is connected to `trio_spool_server`. It is closed after the test."""
    from ._clients import couchbase_cluster

    with couchbase_cluster(trio_spool_server) as cluster:
        yield cluster


@pytest.fixture(scope=scope_of)
def couchbase_collection(couchbase_cluster: Any, trio_spool_server: Server) -> Any:
    """The first of the collections that `trio_spool_server` was started with, or the default one of its default bucket."""
    from ._clients import couchbase_collection

    return couchbase_collection(couchbase_cluster, trio_spool_server)


@pytest.fixture(scope=scope_of)
def memcached_client(request: pytest.FixtureRequest, trio_spool_server: Server) -> Iterator[Any]:
    """A client for memcached that is connected to `trio_spool_server`: of pymemcache, bmemcached or pylibmc.

    It is the first of them that is installed, or the one that the option ``trio_spool_memcached_client`` names.
    """
    from ._clients import memcached_client

    with memcached_client(trio_spool_server, request.config.getini("trio_spool_memcached_client")) as client:
        yield client
