"""The WSGI applications that the servers of these tests run, as one ASGI application.

``/APPLICATION/SCENARIO/KEY``: the first word chooses the application. What happens in a scenario is reported, with its key, in datagrams
to the port of the environment variable REPORT_PORT.
"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

from trio_spool import SpoolLimits
from trio_spool.wsgi import WSGIMiddleware

_reports = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_reports.connect(("127.0.0.1", int(os.environ.get("REPORT_PORT", "9"))))
_loop_thread = threading.get_ident()


def report(key: str, event: str) -> None:
    """Tell the test what happens, when, and in which thread."""
    _reports.send(f"{key} {event} {threading.get_ident()} {time.monotonic()}".encode())


def rows(key: str) -> Iterator[bytes]:
    """Give 5,000 rows."""
    report(key, "start")
    try:
        for number in range(5000):
            yield b"%099d\n" % number
    finally:
        report(key, "finally")


def endless(key: str, pause: float) -> Iterator[bytes]:
    """Give rows without an end, with a pause after each."""
    report(key, "start")
    try:
        while True:
            yield bytes(100)
            if pause:
                time.sleep(pause)
    finally:
        report(key, "finally")


def late_error(key: str) -> Iterator[bytes]:
    """Fail after a row."""
    yield b"begun"
    raise ValueError("after some bytes")


def digest(read: Callable[[int], bytes]) -> str:
    """Read a body in pieces; return its size, its digest, and by how many KiB the memory of this process has grown meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size, hashed = 0, hashlib.md5()
    while piece := read(50_000):
        size += len(piece)
        hashed.update(piece)
    return f"{size} {hashed.hexdigest()} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}"


class Closing:
    """An iterable that reports its `close`."""

    def __init__(self, key: str, chunks: Iterator[bytes]) -> None:
        self._key = key
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]
        report(self._key, "close")


def raw(environ: Any, start_response: Any) -> Any:
    """An application without a framework."""
    _, scenario, key = environ["PATH_INFO"].split("/")
    if scenario == "early_error":
        raise ValueError("before the first byte")
    if scenario == "refuse":
        start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"no"]
    if scenario == "read":
        report(key, "start")
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            report(key, type(error).__name__)
            raise
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    read = environ["wsgi.input"].read
    if scenario == "write":
        for number in range(5000):
            write(b"%099d\n" % number)
        return []
    if scenario == "echo":
        return iter(lambda: read(10_000), b"")
    if scenario == "file":
        return environ["wsgi.file_wrapper"](io.BytesIO(bytes(300_000)))
    if scenario == "upload":
        return [digest(read).encode()]
    made = {
        "hello": lambda: [b"hello"],
        "rows": lambda: rows(key),
        "middle": lambda: endless(key, 0.001),
        "paused": lambda: endless(key, 0),
        "late_error": lambda: late_error(key),
    }[scenario]()
    return made if scenario == "hello" else Closing(key, made)


def flask() -> Any:
    from flask import Flask, Response, request

    app = Flask(__name__)

    @app.get("/hello/<key>")
    def hello(key: str) -> str:
        return "hello"

    @app.get("/rows/<key>")
    def rows_(key: str) -> Response:
        return Response(rows(key), mimetype="text/plain")

    @app.get("/paused/<key>")
    def paused(key: str) -> Response:
        return Response(endless(key, 0), mimetype="text/plain")

    @app.post("/upload/<key>")
    def upload(key: str) -> str:
        return digest(request.stream.read)

    @app.post("/form/<key>")
    def form(key: str) -> str:
        return digest(request.files["file"].stream.read)

    return app


def bottle() -> Any:
    import bottle

    app = bottle.Bottle()
    app.get("/hello/<key>", callback=lambda key: "hello")
    app.get("/rows/<key>", callback=rows)
    app.get("/paused/<key>", callback=lambda key: endless(key, 0))
    app.post("/upload/<key>", callback=lambda key: digest(bottle.request.body.read))
    app.post("/form/<key>", callback=lambda key: digest(bottle.request.files.get("file").file.read))
    return app


def django() -> Any:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpResponse, StreamingHttpResponse
    from django.urls import path

    urls = [
        path("hello/<key>", lambda request, key: HttpResponse("hello")),
        path("rows/<key>", lambda request, key: StreamingHttpResponse(rows(key))),
        path("paused/<key>", lambda request, key: StreamingHttpResponse(endless(key, 0))),
        path("file/<key>", lambda request, key: FileResponse(io.BytesIO(bytes(300_000)))),
        path("upload/<key>", lambda request, key: HttpResponse(digest(request.read))),
        path("form/<key>", lambda request, key: HttpResponse(digest(request.FILES["file"].read))),
    ]
    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(urls), MIDDLEWARE=[])
    django.setup()
    return get_wsgi_application()


MADE: dict[str, Callable[[], Any]] = {
    "raw": lambda: raw,
    "validated": lambda: validator(raw),
    "flask": flask,
    "bottle": bottle,
    "django": django,
}


class Dispatcher:
    """Makes each application at the first request for it."""

    def __init__(self) -> None:
        self._apps: dict[str, Any] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        _, name, rest = environ["PATH_INFO"].split("/", 2)
        if name not in self._apps:
            self._apps[name] = MADE[name]()
        return self._apps[name]({**environ, "SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{rest}"}, start_response)


dispatcher = Dispatcher()
LIMITS = SpoolLimits(window=65536, batch=16384)
app = WSGIMiddleware(dispatcher, limits=LIMITS)
giving_back = WSGIMiddleware(dispatcher, limits=LIMITS, give_back=True)
