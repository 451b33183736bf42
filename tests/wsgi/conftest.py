"""Both event loops, and a request to an application."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from support.asgi import Server, make_scope
from trio_spool.wsgi import WSGIMiddleware


def _run_asyncio(main: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    return asyncio.run(main(*arguments))


@pytest.fixture(params=[trio.run, _run_asyncio], ids=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run an async function and return its result, on each loop in turn."""
    return request.param


@pytest.fixture
def ask(run: Callable[..., Any]) -> Callable[..., Server]:
    """Send a request to a WSGI application, and return what the server has then."""

    def ask(
        application: Any, *body: bytes, give_back: bool = False, may_send: threading.Event | None = None, **scope: Any
    ) -> Server:
        async def main() -> Server:
            server = Server(*body, may_send=may_send)
            await WSGIMiddleware(application, give_back=give_back)(make_scope(**scope), server.receive, server.send)
            return server

        return run(main)

    return ask
