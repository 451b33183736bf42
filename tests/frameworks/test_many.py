"""Many clients that read nothing."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.servers import Server

CLIENTS = 1000  # on one server; on the others 100, which is more than there are threads as well


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process, and the servers that it starts, have a descriptor for each client."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before < 4 * CLIENTS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * CLIENTS, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_stalled_clients_hold_no_thread(server: Server) -> None:
    """At most 16 iterables have a thread at a time, so another one gets none if one of the stalled keeps its own."""
    with ExitStack() as stack:
        stalled = [server.key() for _ in range(CLIENTS if server.kind == "uvicorn_httptools" else 100)]
        for key in stalled:
            stack.enter_context(server.get(f"/asgi/stalled/{key}", receive_buffer=4096))
            server.reports.wait(key, "start")
        with server.get(f"/asgi/rows/{server.key()}") as client:
            client.read_head()
            assert len(client.read_body()) == 500_000
        assert not any(server.reports.find(key, "finally") for key in stalled)
    for key in stalled:
        server.reports.wait(key, "finally")
