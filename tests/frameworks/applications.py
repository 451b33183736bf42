"""The applications that the servers of these tests run: one ASGI application, which passes a request on by the first word of its path.

``/ADAPTER/SCENARIO/KEY`` answers with the producer of that name. Producers report what happens to them, with their key, in datagrams to
the port of the environment variable REPORT_PORT.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from random import randbytes
from typing import Any

import anyio

from trio_spool import SpoolLimits, stream
from trio_spool.asgi import Event, EventResponse, JSONLinesResponse, StreamResponse, WaitForStreams

ROW = b"x" * 99 + b"\n"
LIMITS = SpoolLimits(window=65536, batch=16384)

_reports = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_reports.connect(("127.0.0.1", int(os.environ.get("REPORT_PORT", "9"))))


def report(key: str, event: str) -> None:
    """Tell the test what happens, when, and in which thread."""
    _reports.send(f"{key} {event} {threading.get_ident()} {time.monotonic()}".encode())


def on_loop(key: str) -> None:
    """Tell the test which thread the event loop runs in."""
    report(key, "loop")


class Scenario:
    """A producer that reports. A subclass says what it emits."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.stopped = threading.Event()

    def emit(self) -> Iterator[bytes]:
        raise NotImplementedError

    def rows(self) -> Iterator[bytes]:
        report(self.key, "start")
        try:
            for number, row in enumerate(self.emit()):
                if number == 0 or number % 1000 == 0:
                    report(self.key, "row")
                yield row
        finally:
            report(self.key, "finally")


class Rows(Scenario):
    def emit(self) -> Iterator[bytes]:
        for number in range(5000):
            yield b"%099d\n" % number


class Empty(Scenario):
    def emit(self) -> Iterator[bytes]:
        return iter(())


class Before(Scenario):
    """Silent before the first byte."""

    def emit(self) -> Iterator[bytes]:
        self.stopped.wait()
        yield ROW


class Middle(Scenario):
    """Emits all the time."""

    def emit(self) -> Iterator[bytes]:
        while True:
            yield ROW
            time.sleep(0.001)


class Silent(Scenario):
    """Silent after some bytes."""

    def emit(self) -> Iterator[bytes]:
        yield ROW
        self.stopped.wait()
        yield ROW


class Paused(Scenario):
    """Emits faster than anybody reads."""

    def emit(self) -> Iterator[bytes]:
        while True:
            yield randbytes(100)  # which gzip does not make smaller


class Stalled(Scenario):
    """Emits faster than anybody reads, and reports nothing meanwhile."""

    def rows(self) -> Iterator[bytes]:
        report(self.key, "start")
        try:
            while True:
                yield ROW * 100
        finally:
            report(self.key, "finally")


class Lingering(Scenario):
    """In the middle of a long step when the server is told to end."""

    def emit(self) -> Iterator[bytes]:
        yield ROW
        while True:
            time.sleep(0.5)
            yield ROW


class EarlyError(Scenario):
    def emit(self) -> Iterator[bytes]:
        raise ValueError("before the first byte")
        yield b""


class LateError(Scenario):
    def emit(self) -> Iterator[bytes]:
        yield ROW
        raise ValueError("after some bytes")


SCENARIOS: dict[str, type[Scenario]] = {
    "rows": Rows,
    "empty": Empty,
    "before": Before,
    "middle": Middle,
    "silent": Silent,
    "paused": Paused,
    "stalled": Stalled,
    "lingering": Lingering,
    "early_error": EarlyError,
    "late_error": LateError,
}


def arguments(scenario: str, key: str) -> tuple[Iterator[bytes], dict[str, Any]]:
    """Return a producer, and the options of its stream."""
    on_loop(key)
    made = SCENARIOS[scenario](key)
    return made.rows(), {"limits": LIMITS, "stop": made.stopped.set}


def body(scenario: str, key: str) -> Any:
    """Return a stream."""
    producer, options = arguments(scenario, key)
    return stream(producer, **options)


# Our own adapters


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    _, scenario, key = scope["path"].split("/")
    if scenario == "events":
        answer = EventResponse([Event("one\ntwo", event="tokens", id="7"), "three"])
    elif scenario == "lines":
        answer = JSONLinesResponse([{"a": 1}, ["é"]])
    elif scenario == "length":
        answer = StreamResponse([b"12", b"345"], headers={"content-length": "5"})
    else:
        producer, options = arguments(scenario, key)
        answer = StreamResponse(producer, content_type="text/plain", **options)
    await answer(scope, receive, send)


def _starlette(*middleware: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from trio_spool.asgi.starlette import StreamResponse

    async def own(request: Any) -> Any:
        producer, options = arguments(**request.path_params)
        return StreamResponse(producer, media_type="text/plain", **options)

    return Starlette(routes=[Route("/{scenario}/{key}", own, methods=["GET"])], middleware=list(middleware))


def starlette() -> Any:
    return _starlette()


def starlette_middleware() -> Any:
    """Below a middleware that runs the application in a task of its own, and passes the body on in an async generator."""
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return _starlette(Middleware(BaseHTTPMiddleware, dispatch=dispatch))


def starlette_gzip() -> Any:
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    return _starlette(Middleware(GZipMiddleware))


def fastapi() -> Any:
    from fastapi import FastAPI

    from trio_spool.asgi.starlette import StreamResponse

    app = FastAPI()

    @app.api_route("/{scenario}/{key}", methods=["GET", "HEAD"], response_model=None)
    async def own(scenario: str, key: str) -> Any:
        producer, options = arguments(scenario, key)
        return StreamResponse(producer, media_type="text/plain", **options)

    return app


# A stream as the body that a framework sends


def raw_body() -> Any:
    """What one writes without an adapter."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        _, scenario, key = scope["path"].split("/")

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        try:
            async with body(scenario, key) as batches, anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
                async for batch in batches:
                    await send({"type": "http.response.body", "body": batch, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                tasks.cancel_scope.cancel()
        except BaseException as error:
            report(key, f"raised:{type(error).__name__}")
            raise

    return app


def starlette_body() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def streamed(request: Any) -> Any:
        return StreamingResponse(body(**request.path_params), media_type="text/plain")

    return Starlette(routes=[Route("/{scenario}/{key}", streamed)])


def fastapi_body() -> Any:
    from fastapi import FastAPI
    from starlette.responses import StreamingResponse

    app = FastAPI()

    @app.api_route("/{scenario}/{key}", methods=["GET", "HEAD"], response_model=None)
    async def streamed(scenario: str, key: str) -> Any:
        return StreamingResponse(body(scenario, key), media_type="text/plain")

    return app


def _quart(kind: Any, prepare: Callable[[Any], Any]) -> Any:
    app = kind(__name__)

    @app.get("/<scenario>/<key>")
    async def streamed(scenario: str, key: str) -> Any:
        response = app.response_class(prepare(body(scenario, key)), mimetype="text/plain")
        response.timeout = None
        return response

    return app


def quart() -> Any:
    from quart import Quart

    return _quart(Quart, lambda batches: batches)


def quart_trio() -> Any:
    """It takes an async generator, and no other async iterator."""
    from quart_trio import QuartTrio

    async def generator(batches: Any) -> Any:
        async for batch in batches:
            yield batch

    return _quart(QuartTrio, generator)


def django() -> Any:
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import StreamingHttpResponse
    from django.urls import path

    async def streamed(request: Any, scenario: str, key: str) -> Any:
        return StreamingHttpResponse(body(scenario, key), content_type="text/plain")

    class Urls:
        urlpatterns = [path("<scenario>/<key>", streamed)]

    settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="no secret", LOGGING_CONFIG=None)
    importlib.import_module("django").setup()
    return ASGIHandler()


def litestar() -> Any:
    from litestar import Litestar, get
    from litestar.response import Stream

    @get("/{scenario:str}/{key:str}", sync_to_thread=False)
    def streamed(scenario: str, key: str) -> Stream:
        return Stream(body(scenario, key), media_type="text/plain")

    return Litestar([streamed], openapi_config=None, signature_namespace={"Stream": Stream})


MADE: dict[str, Callable[[], Any]] = {
    "asgi": lambda: asgi,
    "starlette": starlette,
    "starlette_middleware": starlette_middleware,
    "starlette_gzip": starlette_gzip,
    "fastapi": fastapi,
    "raw_body": raw_body,
    "starlette_body": starlette_body,
    "fastapi_body": fastapi_body,
    "quart": quart,
    "quart_trio": quart_trio,
    "django": django,
    "litestar": litestar,
}


class Dispatcher:
    """Makes each application at the first request for it: their imports take seconds."""

    def __init__(self) -> None:
        self._apps: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("this application does not know lifespan")
        _, name, rest = scope["path"].split("/", 2)
        if name not in self._apps:
            self._apps[name] = MADE[name]()
        path = "/" + rest
        await self._apps[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)


app = WaitForStreams(Dispatcher())
