"""Every adapter, and streams as the bodies of frameworks, on every server: whole answers, failures, and clients that leave."""

from __future__ import annotations

import gzip
import json

import pytest

from support.servers import Server

RESPONSES = ("asgi", "starlette", "starlette_middleware", "starlette_gzip", "fastapi")
BODIES = ("raw_body", "starlette_body", "fastapi_body", "quart", "quart_trio", "django", "litestar")
ROWS = b"".join(b"%099d\n" % number for number in range(5000))
# Seconds from the client's leaving to the producer's finally. It tells a stream that was stopped from one that was stopped by a
# timeout; the benchmark `asgi` has the figures.
PROMPT = 2.0
FITS = {
    "quart": lambda kind: kind != "hypercorn_trio",
    "quart_trio": lambda kind: kind == "hypercorn_trio",
    "django": lambda kind: kind != "hypercorn_trio",
}

responses = pytest.mark.parametrize("adapter", RESPONSES)
everything = pytest.mark.parametrize("adapter", RESPONSES + BODIES)


@pytest.fixture(autouse=True)
def fitting(request: pytest.FixtureRequest, server: Server) -> None:
    """Skip a framework on a server with the other event loop."""
    adapter = request.node.callspec.params.get("adapter", "asgi")
    if not FITS.get(adapter, lambda kind: True)(server.kind):
        pytest.skip(f"{adapter} does not run on the event loop of {server.kind}")


def closed_in_worker(server: Server, key: str) -> float:
    """Wait for the producer's finally, which must run in a worker thread, and return when it ran."""
    loop, _ = server.reports.wait(key, "loop")
    thread, moment = server.reports.wait(key, "finally")
    assert thread != loop
    return moment


@everything
def test_whole_answer(server: Server, adapter: str) -> None:
    key = server.key()
    with server.get(f"/{adapter}/rows/{key}") as client:
        assert client.read_head() == 200
        assert client.headers["content-type"].startswith("text/plain")
        body = client.read_body()
    assert (gzip.decompress(body) if client.headers.get("content-encoding") == "gzip" else body) == ROWS
    closed_in_worker(server, key)


@everything
def test_empty_answer(server: Server, adapter: str) -> None:
    with server.get(f"/{adapter}/empty/{server.key()}") as client:
        assert client.read_head() == 200
        body = client.read_body()
    assert body == b"" or gzip.decompress(body) == b""


@responses
def test_failure_before_the_first_byte_is_an_error_of_the_server(server: Server, adapter: str) -> None:
    with server.get(f"/{adapter}/early_error/{server.key()}") as client:
        assert client.read_head() == 500


@everything
def test_failure_after_some_bytes_breaks_the_answer_off(server: Server, adapter: str, request: pytest.FixtureRequest) -> None:
    if adapter == "starlette_middleware":
        request.applymarker(pytest.mark.xfail(reason="BaseHTTPMiddleware ends a broken body as if it were whole", strict=True))
    key = server.key()
    with server.get(f"/{adapter}/late_error/{key}") as client:
        with pytest.raises((ConnectionError, IndexError)):
            client.read_head()
            client.read_body()
    closed_in_worker(server, key)


@everything
@pytest.mark.parametrize("phase", ["before", "middle", "silent", "paused"])
def test_client_leaves(server: Server, adapter: str, phase: str) -> None:
    key = server.key()
    with server.get(f"/{adapter}/{phase}/{key}", receive_buffer=4096) as client:
        server.reports.wait(key, "start")
        if phase != "before":
            server.reports.wait(key, "row")
        if phase == "paused":
            server.reports.wait_until_quiet(0.1)
        elif phase != "before" and adapter != "starlette_gzip":  # which holds small bodies back
            client.read_head()
            client.read_chunk()
        left = client.leave()
    assert closed_in_worker(server, key) - left < PROMPT


@responses
def test_head_starts_nothing(server: Server, adapter: str) -> None:
    key, later = server.key(), server.key()
    with server.get(f"/{adapter}/rows/{key}", "HEAD") as client:
        assert client.read_head() == 200
        assert client.headers["content-type"].startswith("text/plain")
    with server.get(f"/{adapter}/rows/{later}"):
        server.reports.wait(later, "start")
    assert server.reports.events(key) == ["loop"]


def test_a_length_that_was_promised(server: Server) -> None:
    with server.get("/asgi/length/any") as client:
        assert client.read_head() == 200
        assert client.headers["content-length"] == "5"
        assert "transfer-encoding" not in client.headers
        assert client.read_body() == b"12345"


def test_server_sent_events(server: Server) -> None:
    with server.get("/asgi/events/any") as client:
        client.read_head()
        assert client.headers["content-type"] == "text/event-stream"
        assert client.read_body() == b"event: tokens\nid: 7\ndata: one\ndata: two\n\ndata: three\n\n"


def test_newline_delimited_json(server: Server) -> None:
    with server.get("/asgi/lines/any") as client:
        client.read_head()
        assert [json.loads(line) for line in client.read_body().splitlines()] == [{"a": 1}, ["é"]]
