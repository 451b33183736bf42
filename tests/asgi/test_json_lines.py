"""Newline-delimited JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from trio_spool.asgi import JSONLinesResponse, json_lines

Run = Callable[..., Any]


def test_lines() -> None:
    items = [{"a": [1, 2]}, "two\nlines", None, "é"]
    lines = b"".join(json_lines(items)).splitlines(keepends=True)
    assert lines[0] == b'{"a":[1,2]}\n'
    assert [json.loads(line) for line in lines] == items


def test_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        list(json_lines([float("nan")]))


def test_another_encoder() -> None:
    assert list(json_lines([1], dumps=lambda item: b"%d" % item)) == [b"1\n"]
    with pytest.raises(ValueError, match="one line"):
        list(json_lines([{"a": 1}], dumps=lambda item: json.dumps(item, indent=1)))


def test_a_response(run: Run, exchange: Any) -> None:
    async def main() -> None:
        one = exchange()
        await JSONLinesResponse([1, 2])(one.scope, one.receive, one.send)
        assert one.messages[0]["headers"] == [(b"content-type", b"application/x-ndjson")]
        assert one.body == b"1\n2\n"
        assert one.complete

    run(main)
