"""Server-sent events: the format ``text/event-stream`` of the HTML standard, 9.2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from ._each import Each
from ._headers import RawHeaders

# The standard's line ends; `str.splitlines` knows more of them, which belong to the data.
_LINE_END = re.compile("\r\n|\r|\n")


def _one_line(event: Event, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None and _LINE_END.search(value):
        raise ValueError(f"the {attribute.name} of an event must be one line, got {value!r}")


def _no_null(event: Event, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None and "\0" in value:
        raise ValueError(f"browsers ignore an id with a null character in it, got {value!r}")


def _milliseconds(event: Event, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"retry must be a number of milliseconds, 0 or more, got {value!r}")


@attrs.frozen
class Event:
    """One server-sent event.

    Args:
        data: What the browser gets; it may have several lines. Without data, a browser notes the `id` and `retry` and calls nobody.
        event: The name of the event: who listens for ``"message"`` gets those without one.
        id: What the browser sends back as the header Last-Event-ID when it connects again.
        retry: How many milliseconds the browser waits before it connects again.
        comment: Lines that browsers ignore. ``Event(comment="")`` as the first one sends the headers at once.

    Raises:
        ValueError: `event` or `id` has several lines, `id` a null character, or `retry` is negative.
    """

    data: str | None = None
    event: str | None = attrs.field(default=None, validator=_one_line, kw_only=True)
    id: str | None = attrs.field(default=None, validator=[_one_line, _no_null], kw_only=True)
    retry: int | None = attrs.field(default=None, validator=_milliseconds, kw_only=True)
    comment: str | None = attrs.field(default=None, kw_only=True)

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        lines = [] if self.comment is None else [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            lines += [f"data: {line}" for line in _LINE_END.split(self.data)]
        return "\n".join([*lines, "", ""]).encode()


def events(items: Iterable[Event | str]) -> Iterator[bytes]:
    """Return a producer of server-sent events, for `trio_spool.stream` or a response with the content type text/event-stream.

    Closing the producer closes `items`. `EventResponse` is the whole response.

    Args:
        items: A blocking iterable of `Event`, or of strings, each the data of an event.

    Raises:
        TypeError: `items` is not an iterable, or is a string. The producer raises it for an item that is neither an event nor a
            string.
    """
    return Each(_encode, items)


def _encode(item: Event | str) -> bytes:
    if isinstance(item, Event):
        return item.encode()
    if isinstance(item, str):
        return Event(item).encode()
    raise TypeError(f"an item must be an Event or a str, got {item!r:.80}")


def event_headers(headers: RawHeaders) -> RawHeaders:
    """Add what keeps caches, and nginx as a proxy, from holding events back, unless the headers say something about it."""
    names = {name for name, _ in headers}
    return headers + [pair for pair in ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")) if pair[0] not in names]
