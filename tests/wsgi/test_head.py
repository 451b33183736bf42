"""What start_response accepts."""

from __future__ import annotations

from typing import Any

import pytest

from trio_spool.wsgi._head import parse_head


def test_a_usual_head() -> None:
    head = parse_head("404 Not Found", [("Content-Type", " text/plain "), ("X-Name", "Jos\xe9"), ("Content-Length", "12")])
    assert head.status == 404
    assert head.headers == [(b"content-type", b"text/plain"), (b"x-name", b"Jos\xe9"), (b"content-length", b"12")]
    assert head.length == 12
    assert head.has_body


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, TypeError),
        ("200", ValueError),
        ("20 OK", ValueError),
        ("101 Switching Protocols", ValueError),
        ("200 OK\r\nX: y", ValueError),
        ("²00 OK", ValueError),
    ],
)
def test_a_wrong_status(status: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="status"):
        parse_head(status, [])


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "keep-alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailers",
        "Transfer-Encoding",
        "Upgrade",
        "Status",
    ],
)
def test_headers_that_belong_to_the_server(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        parse_head("200 OK", [(name, "x")])


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (("X", 1), TypeError),
        ((b"X", "y"), TypeError),
        (["X", "y"], TypeError),
        (("X",), TypeError),
        (("X Y", "z"), ValueError),
        (("X:", "z"), ValueError),
        (("", "z"), ValueError),
        (("X", "a\r\nSet-Cookie: b"), ValueError),
        (("X", "a\x00"), ValueError),
        (("X", "\N{EURO SIGN}"), ValueError),
        (("Content-Length", "-1"), ValueError),
        (("Content-Length", "1e3"), ValueError),
        (("Content-Length", "²"), ValueError),
    ],
)
def test_a_wrong_header(header: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="start_response"):
        parse_head("200 OK", [header])


def test_two_lengths() -> None:
    assert parse_head("200 OK", [("Content-Length", "5"), ("Content-Length", "5")]).length == 5
    with pytest.raises(ValueError, match="5 and 6"):
        parse_head("200 OK", [("Content-Length", "5"), ("Content-Length", "6")])


def test_adding_a_length() -> None:
    assert parse_head("200 OK", []).with_length(3).headers == [(b"content-length", b"3")]
    assert parse_head("200 OK", [("Content-Length", "5")]).with_length(3).length == 5
    assert parse_head("204 No Content", []).with_length(0).headers == []
