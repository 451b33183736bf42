"""A producer whose fragments are made of the items of another iterable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class Each(map):  # type: ignore[type-arg]
    """A `map` that passes `close` on to its source, so that the source's ``finally`` runs where the producer is closed.

    A `map` and not a generator: it costs nothing for each item, and it closes a source that was never started.
    """

    _source: Iterable[Any]
    __qualname__: str

    def __new__(cls, function: Callable[[Any], bytes], items: Iterable[Any]) -> Each:
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise TypeError(f"the items must come from a blocking iterable, such as a generator; got {items!r:.80}")
        source = iter(items)
        each = super().__new__(cls, function, source)
        each._source = source
        each.__qualname__ = getattr(items, "__qualname__", type(items).__qualname__)  # a producer's name in statistics and the log
        return each

    def close(self) -> None:
        """Close the source."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
