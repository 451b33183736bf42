"""The environ, as PEP 3333 describes it."""

from __future__ import annotations

import io
import sys
from typing import Any
from wsgiref.validate import check_environ

import pytest

from trio_spool.wsgi._environ import build_environ


def environ(**changes: Any) -> dict[str, Any]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("192.0.2.1", 50_000),
        "server": ("example.org", 8000),
        **changes,
    }
    built = build_environ(scope, io.BytesIO())
    check_environ(built)
    return built


def test_what_it_says_of_the_request() -> None:
    built = environ(method="PUT", query_string=b"a=1&b=%20", http_version="2")
    assert built["REQUEST_METHOD"] == "PUT"
    assert built["QUERY_STRING"] == "a=1&b=%20"
    assert built["SERVER_PROTOCOL"] == "HTTP/2"
    assert (built["SERVER_NAME"], built["SERVER_PORT"]) == ("example.org", "8000")
    assert (built["REMOTE_ADDR"], built["REMOTE_PORT"]) == ("192.0.2.1", "50000")
    assert built["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in built


def test_what_it_says_of_the_server() -> None:
    built = environ(scheme="https")
    assert built["wsgi.version"] == (1, 0)
    assert built["wsgi.url_scheme"] == "https"
    assert built["HTTPS"] == "on"
    assert built["wsgi.errors"] is sys.stderr
    assert built["wsgi.multithread"] is True
    assert built["wsgi.run_once"] is False
    assert built["wsgi.input_terminated"] is True


def test_a_server_that_says_little() -> None:
    built = environ(server=None, client=None, scheme="https")
    assert (built["SERVER_NAME"], built["SERVER_PORT"]) == ("localhost", "443")
    assert "REMOTE_ADDR" not in built
    assert environ(server=("/run/socket", None))["SERVER_PORT"] == "0"


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "/", ("", "/")),
        ("", "/a/b", ("", "/a/b")),
        ("", "", ("", "/")),
        ("/", "/a", ("", "/a")),
        ("/app", "/app/a", ("/app", "/a")),
        ("/app", "/app/", ("/app", "/")),
        ("/app", "/app", ("/app", "")),
        ("/app/", "/app/a", ("/app", "/a")),
        ("/app", "/a", ("/app", "/a")),  # the server leaves the root path out
        ("/app", "/apple", ("/app", "/apple")),
        ("/äpp", "/äpp/ö", ("/\xc3\xa4pp", "/\xc3\xb6")),
        ("", "/\N{SNOWMAN}", ("", "/\xe2\x98\x83")),
    ],
)
def test_paths(root: str, path: str, expected: tuple[str, str]) -> None:
    built = environ(root_path=root, path=path, raw_path=None)
    assert (built["SCRIPT_NAME"], built["PATH_INFO"]) == expected


def test_a_path_that_is_not_utf_8() -> None:
    assert environ(path="/caf\ufffd", raw_path=b"/caf%E9")["PATH_INFO"] == "/caf\xe9"
    assert environ(path="/\ufffd", raw_path=b"/%EF%BF%BD")["PATH_INFO"] == "/\xef\xbf\xbd"
    assert environ(root_path="/app", path="/app/\ufffd", raw_path=b"/app/%E9")["PATH_INFO"] == "/\xe9"


def test_headers() -> None:
    built = environ(
        headers=[
            (b"host", b"example.org"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"5"),
            (b"x-name", b"Jos\xe9"),
            (b"accept", b"a/b"),
            (b"accept", b"c/d"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
        ]
    )
    assert built["HTTP_HOST"] == "example.org"
    assert built["CONTENT_TYPE"] == "text/plain"
    assert built["CONTENT_LENGTH"] == "5"
    assert built["HTTP_X_NAME"] == "Jos\xe9"
    assert built["HTTP_ACCEPT"] == "a/b,c/d"
    assert built["HTTP_COOKIE"] == "a=1; b=2"


def test_headers_that_are_left_out() -> None:
    built = environ(headers=[(b"proxy", b"evil"), (b"transfer-encoding", b"chunked"), (b"x_user", b"root"), (b"x-user", b"me")])
    assert {name for name in built if name.startswith("HTTP_")} == {"HTTP_X_USER"}
    assert built["HTTP_X_USER"] == "me"
