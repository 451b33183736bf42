"""Every event loop that the library works on, for tests that are written with anyio's functions and run on each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest

T = TypeVar("T")
Run = Callable[[Callable[[], Awaitable[Any]]], Any]

_ASYNCIO: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
}
_ALL = {**_ASYNCIO, "trio": {"backend": "trio"}}


def run_on(name: str) -> Run:
    """Return a function that runs an async function, without arguments, in a new loop of a kind."""

    def run(main: Callable[[], Awaitable[T]]) -> T:
        return anyio.run(main, **_ALL[name])

    return run


every_loop = pytest.mark.parametrize("run", [pytest.param(run_on(name), id=name) for name in _ALL])
every_asyncio = pytest.mark.parametrize("run", [pytest.param(run_on(name), id=name) for name in _ASYNCIO])
