"""A server with a management port for frameworks that are built on Couchbase's SDK, and a cluster of that SDK to make things with."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from support.process import running

# With it, a framework that is missing is a failure. The session "integrations" of nox sets it.
REQUIRED = os.environ.get("TRIO_SPOOL_REQUIRE_INTEGRATIONS") == "1"
PATIENT = timedelta(seconds=20)


@pytest.fixture(scope="session")
def installed() -> Callable[[str], Any]:
    """Import a module of a framework, or skip the test if that is not installed."""

    def find(name: str) -> Any:
        return importlib.import_module(name) if REQUIRED else pytest.importorskip(name)

    return find


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The connection string of a server that was started as the documentation says."""
    with running("--engine=memory", "--listen=tcp://127.0.0.1:0", "--management=tcp://127.0.0.1:0", listeners=2) as process:
        yield f"couchbase://{process.address}"


@pytest.fixture(scope="module")
def cluster(installed: Callable[[str], Any], address: str) -> Iterator[Any]:
    """The server as the SDK sees it, with the scope ``shop`` and its collection ``things`` in the default bucket."""
    installed("couchbase")
    from couchbase.auth import PasswordAuthenticator
    from couchbase.cluster import Cluster
    from couchbase.options import ClusterOptions

    cluster = Cluster(address, ClusterOptions(PasswordAuthenticator("anybody", "anything")))
    cluster.wait_until_ready(PATIENT)
    manager = cluster.bucket("default").collections()
    manager.create_scope("shop")
    manager.create_collection("shop", "things")
    yield cluster
    cluster.close()
