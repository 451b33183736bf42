"""Servers for the tests with frameworks: each kind is started once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

from support.servers import COMMANDS, Server, running

NEEDED = (
    "starlette",
    "fastapi",
    "quart",
    "quart_trio",
    "django",
    "litestar",
    "uvicorn",
    "httptools",
    "uvloop",
    "hypercorn",
    "granian",
    "flask",
    "bottle",
    "httpx",
    "psycopg",
    "pyarrow",
    "pandas",
)
# With it, a framework that is missing is a failure. The session "frameworks" of nox sets it.
REQUIRED = os.environ.get("TRIO_SPOOL_REQUIRE_FRAMEWORKS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    for item in items:
        if absent and not REQUIRED and "frameworks" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(absent)}"))


@pytest.fixture(scope="session", params=[pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in COMMANDS])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all applications."""
    with running(request.param, tmp_path_factory.mktemp("server") / "log") as server:
        yield server
