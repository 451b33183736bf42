"""Both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio


def _run_asyncio(main: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    return asyncio.run(main(*arguments))


@pytest.fixture(params=[trio.run, _run_asyncio], ids=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run an async function and return its result, on each loop in turn."""
    return request.param
