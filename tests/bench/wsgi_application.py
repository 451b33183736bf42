"""What the servers of the benchmark "wsgi" run: one WSGI application, by each of the adapters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from a2wsgi import WSGIMiddleware as A2WSGI
from hypercorn.middleware import AsyncioWSGIMiddleware, TrioWSGIMiddleware

from trio_spool.wsgi import WSGIMiddleware

ROW = b"x" * 99 + b"\n"


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """``/hello`` says hello; ``/rows?N`` gives N rows of 100 bytes."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/hello":
        return [b"hello world"]
    return (ROW for _ in range(int(environ["QUERY_STRING"])))


spooled = WSGIMiddleware(application)
giving_back = WSGIMiddleware(application, give_back=True)
a2wsgi = A2WSGI(application)


def without_lifespan(adapter: Any) -> Any:
    """Return hypercorn's adapter; it returns from a lifespan at once, which its Trio worker takes for a failure."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        await adapter(scope, receive, send)

    return app


own_on_trio = without_lifespan(TrioWSGIMiddleware(application))
own_on_asyncio = without_lifespan(AsyncioWSGIMiddleware(application))
