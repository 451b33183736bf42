"""Newline-delimited JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ._each import Each

# NaN and Infinity are not JSON: most readers of such a line fail.
_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def json_lines(items: Iterable[Any], *, dumps: Callable[[Any], str | bytes] | None = None) -> Iterator[bytes]:
    """Return a producer of newline-delimited JSON, for `trio_spool.stream` or a response.

    The items are encoded in the worker thread. Closing the producer closes `items`. `JSONLinesResponse` is the whole response.

    Args:
        items: A blocking iterable of what `dumps` takes.
        dumps: Encodes an item, without line breaks. By default `json.dumps`, compact, which refuses NaN and infinity.

    Raises:
        TypeError: `items` is not an iterable, or is a string. The producer raises what `dumps` raises.
        ValueError: The producer raises it if an encoded item has a line break in it.
    """
    encode = _dumps if dumps is None else dumps

    def line(item: Any) -> bytes:
        encoded = encode(item)
        data = encoded.encode() if isinstance(encoded, str) else encoded
        if b"\n" in data:
            raise ValueError(f"an encoded item must be one line: let dumps make no line breaks; got {data!r:.80}")
        return data + b"\n"

    return Each(line, items)
