"""The headers of responses."""

from __future__ import annotations

import pytest

from trio_spool.asgi._headers import content_length, encode_headers


def test_pairs_and_mappings() -> None:
    assert encode_headers({"X-One": "é"}) == [(b"x-one", b"\xe9")]
    assert encode_headers([("Set-Cookie", "a"), (b"Set-Cookie", b" b ")]) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\0b"])
def test_a_value_that_would_begin_another_header(value: str) -> None:
    with pytest.raises(ValueError, match="x-name"):
        encode_headers({"X-Name": value})


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a header"):
        encode_headers({name: "value"})


def test_content_length() -> None:
    assert content_length(encode_headers({"Content-Length": "10"})) == 10
    assert content_length([]) is None
    with pytest.raises(ValueError, match="number of bytes"):
        content_length(encode_headers({"Content-Length": "-1"}))
