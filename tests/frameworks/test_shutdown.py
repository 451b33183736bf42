"""A server that is told to end waits for its producers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from support.servers import running

# How a server is told to wait only a second for its clients. Hypercorn's asyncio worker and granian wait for ever.
IMPATIENT = {"uvicorn": ["--timeout-graceful-shutdown", "1"], "hypercorn_trio": ["--graceful-timeout", "1"]}


@pytest.mark.parametrize("adapter", ["asgi", "starlette_body"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in IMPATIENT])
def test_producers_end_before_their_server(kind: str, adapter: str, tmp_path: Path) -> None:
    with running(kind, tmp_path / "log", *IMPATIENT[kind]) as server, ExitStack() as stack:
        keys = [server.key() for _ in range(3)]
        for key in keys:
            stack.enter_context(server.get(f"/{adapter}/lingering/{key}"))
            server.reports.wait(key, "row")
        server.stop()
        for key in keys:
            server.reports.wait(key, "finally", 1)
