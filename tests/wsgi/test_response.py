"""What a WSGI application may do, and what it may not: PEP 3333, on both event loops and in both ways of running it."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture(params=[False, True], ids=["one-thread", "give-back"])
def ask(ask: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    return lambda *arguments, **scope: ask(*arguments, give_back=request.param, **scope)


class Closing:
    """An iterable of chunks that notes when it is closed, and in which thread."""

    def __init__(self, *chunks: Any, error: BaseException | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.closed: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        yield from self.chunks
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed.append(threading.get_ident())


def answering(body: Any, status: str = "200 OK", headers: Any = TEXT) -> Callable[..., Any]:
    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return body

    return application


def test_a_list(ask) -> None:
    server = ask(answering([b"hello"]))
    assert server.status == 200
    assert server.headers == {"content-type": "text/plain", "content-length": "5"}
    assert server.content == b"hello"
    assert len(server.sent) == 2  # the whole body in one message, which is the last one


def test_an_empty_list(ask) -> None:
    server = ask(answering([]))
    assert server.headers["content-length"] == "0"
    assert server.content == b""
    assert server.complete


@pytest.mark.parametrize("make", [list, tuple, iter, lambda chunks: (chunk for chunk in chunks)])
def test_several_chunks(ask, make: Any) -> None:
    server = ask(answering(make([b"one", b"", b"two"])))
    assert server.content == b"onetwo"
    assert "content-length" not in server.headers
    assert server.complete


def test_rows_are_joined_while_the_server_is_busy(ask) -> None:
    made = threading.Event()

    def rows() -> Iterator[bytes]:
        for number in range(100_000):
            yield b"%d\n" % number
        made.set()

    server = ask(answering(rows()), may_send=made)
    assert server.content == b"".join(b"%d\n" % number for number in range(100_000))
    assert len(server.sent) < 10  # 0.6 MB, in batches of at most 512 KiB


def test_the_iterable_is_closed_in_a_worker(ask) -> None:
    body = Closing(b"one", b"two")
    assert ask(answering(body)).content == b"onetwo"
    assert len(body.closed) == 1
    assert body.closed[0] != threading.get_ident()


def test_a_generator_that_calls_start_response_late(ask) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", TEXT)
        yield b"made"

    server = ask(application)
    assert (server.status, server.content) == (201, b"made")


def test_headers_wait_for_the_first_byte(ask) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oh", [("X-Why", "zero")], sys.exc_info())
        yield b"sorry"

    server = ask(application)
    assert server.status == 500
    assert server.headers == {"x-why": "zero"}
    assert server.content == b"sorry"


def test_exc_info_after_the_first_byte(ask) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"begun"
        try:
            raise ZeroDivisionError("too late")
        except ZeroDivisionError:
            start_response("500 Oh", TEXT, sys.exc_info())

    with pytest.raises(ZeroDivisionError, match="too late"):
        ask(application)


def test_start_response_twice(ask) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        start_response("200 OK", TEXT)
        return []

    with pytest.raises(RuntimeError, match="second time"):
        ask(application)


def test_no_start_response(ask) -> None:
    body = Closing(b"x")
    with pytest.raises(RuntimeError, match="before it called start_response"):
        ask(lambda environ, start_response: body)
    assert len(body.closed) == 1
    with pytest.raises(RuntimeError, match="without calling start_response"):
        ask(lambda environ, start_response: [])
    with pytest.raises(RuntimeError, match="without calling start_response"):
        ask(lambda environ, start_response: iter([]))


@pytest.mark.parametrize("body", [None, 5, "text", b"bytes"])
def test_what_is_not_an_iterable_of_bytes(ask, body: Any) -> None:
    with pytest.raises(TypeError, match="iterable of bytes"):
        ask(answering(body))


@pytest.mark.parametrize("chunk", ["text", bytearray(b"x"), None, 5])
def test_chunks_that_are_not_bytes(ask, chunk: Any) -> None:
    for body in ([chunk], iter([chunk]), iter([b"first", chunk]), iter([b"first", b"second", chunk])):
        with pytest.raises(TypeError, match="must consist of bytes"):
            ask(answering(body))


def test_an_error_of_the_application(ask) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("in the call")

    with pytest.raises(LookupError, match="in the call"):
        ask(application)
    body = Closing(error=LookupError("before the first byte"))
    with pytest.raises(LookupError, match="before the first byte"):
        ask(answering(body))
    assert len(body.closed) == 1


def test_write(ask) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"one ")
        write(b"")
        write(b"two ")

        def rest() -> Iterator[bytes]:
            yield b"three "
            write(b"four ")
            yield b"five"

        return rest()

    server = ask(application)
    assert server.content == b"one two three four five"
    assert "content-length" not in server.headers


def test_write_and_an_empty_list(ask) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)(b"all")
        return []

    server = ask(application)
    assert server.content == b"all"
    assert "content-length" not in server.headers


def test_write_takes_bytes_only(ask) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)("text")
        return []

    with pytest.raises(TypeError, match="must consist of bytes"):
        ask(application)


LENGTH_5 = [*TEXT, ("Content-Length", "5")]


def test_a_content_length(ask) -> None:
    server = ask(answering(iter([b"he", b"llo"]), headers=LENGTH_5))
    assert server.headers["content-length"] == "5"
    assert server.content == b"hello"


@pytest.mark.parametrize(
    "make", [lambda: [b"hello world"], lambda: iter([b"hello world"]), lambda: iter([b"he", b"llo", b" world"])]
)
def test_more_than_the_content_length(ask, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = ask(answering(make(), headers=LENGTH_5))
    assert server.content == b"hello"
    assert server.complete
    assert "5 bytes of its Content-Length" in caplog.text


@pytest.mark.parametrize("make", [lambda: [b"hell"], lambda: iter([b"he", b"ll"]), list])
def test_less_than_the_content_length(ask, make: Any) -> None:
    with pytest.raises(RuntimeError, match="Content-Length of 5 bytes, but gave"):
        ask(answering(make(), headers=LENGTH_5))


@pytest.mark.parametrize("make", [lambda: [b"hello"], lambda: iter([b"hello"]), lambda: Closing(b"he", b"llo")])
def test_head(ask, make: Any) -> None:
    server = ask(answering(make(), headers=LENGTH_5), method="HEAD")
    assert server.headers["content-length"] == "5"
    assert server.content == b""
    assert server.complete


def test_head_of_a_list_has_its_length(ask) -> None:
    assert ask(answering([b"hello"]), method="HEAD").headers["content-length"] == "5"


def test_head_stops_a_long_body(ask) -> None:
    given: list[int] = []

    def rows() -> Iterator[bytes]:
        for number in range(1000):
            given.append(number)
            yield b"x"

    server = ask(answering(rows()), method="HEAD")
    assert server.content == b""
    assert len(given) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body(ask, status: str) -> None:
    body = Closing(b"not sent")
    server = ask(answering(body, status, []))
    assert server.status == int(status[:3])
    assert server.headers == {}
    assert server.content == b""
    assert len(body.closed) == 1
    assert ask(answering([b""], status, [])).headers == {}


def test_file_wrapper(ask) -> None:
    content = bytes(range(256)) * 1000
    files: list[io.BytesIO] = []

    def application(environ: Any, start_response: Any) -> Any:
        file = io.BytesIO(content)
        file.seek(10)
        files.append(file)
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](file, 4096)

    assert ask(application).content == content[10:]
    assert files[0].closed


def test_a_file_wrapper_of_what_has_no_close(ask) -> None:
    class Readable:
        def __init__(self) -> None:
            self.read = io.BytesIO(b"content").read

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](Readable())

    assert ask(application).content == b"content"


def test_the_validator_of_the_standard_library(ask, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        environ["wsgi.errors"].write("")
        lines = [
            environ["wsgi.input"].readline(),
            *environ["wsgi.input"].readlines(1),
            environ["wsgi.input"].read(3),
            *environ["wsgi.input"],
        ]
        start_response("200 OK", TEXT)
        return iter(lines) if environ["REQUEST_METHOD"] == "POST" else lines

    body = (b"one\ntwo\nthr", b"ee\nfour\n", b"five")
    for method in ("POST", "PUT"):
        assert ask(validator(application), *body, method=method).content == b"".join(body)
    assert ask(validator(answering([b""]))).content == b""
    assert ask(validator(answering([], "204 No Content", []))).status == 204
    assert "garbage collected" not in capsys.readouterr().err
