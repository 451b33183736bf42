"""Server-sent events, against a reader that does what the HTML standard says in 9.2.6."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_spool.asgi import Event, EventResponse, events

Run = Callable[..., Any]


def read(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield what a browser dispatches: the event's name, its data, and the last id."""
    data: list[str] = []
    name = identity = ""
    for line in re.split("\r\n|\r|\n", text.removeprefix("\ufeff")):
        if not line:
            if data:
                yield name or "message", "\n".join(data), identity
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            identity = value


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


@given(data=TEXT, name=LINE, identity=LINE, comment=TEXT)
@example(data="", name="", identity="", comment="")
@example(data=" a\r\n\r\n:b\u2028c\x0bd\r", name=" x", identity="data: 1", comment="\ndata: 2\n\n")
def test_any_event_is_read_as_it_was(data: str, name: str, identity: str, comment: str) -> None:
    encoded = Event(data, event=name, id=identity, retry=5, comment=comment).encode().decode()
    lines = re.sub("\r\n|\r", "\n", data)
    assert list(read(encoded + Event("next").encode().decode())) == [
        (name or "message", lines, identity),
        ("message", "next", identity),
    ]


def test_fields() -> None:
    event = Event("a\nb", event="n", id="1", retry=1500, comment="c")
    assert event.encode() == b": c\nevent: n\nid: 1\nretry: 1500\ndata: a\ndata: b\n\n"
    assert Event(id="1").encode() == b"id: 1\n\n"
    assert Event(comment="").encode() == b": \n\n"


@pytest.mark.parametrize(
    "fields", [{"event": "a\nb"}, {"id": "a\rb"}, {"id": "\0"}, {"retry": -1}, {"retry": 1.5}, {"retry": True}]
)
def test_what_would_break_the_framing(fields: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Event("data", **fields)


def test_items() -> None:
    assert list(events(["a", Event("b")])) == [b"data: a\n\n", b"data: b\n\n"]
    with pytest.raises(TypeError, match="must be an Event or a str"):
        list(events([b"bytes"]))
    for wrong in ("text", b"bytes", 5):
        with pytest.raises(TypeError, match="blocking iterable"):
            events(wrong)


def test_closing_closes_the_source() -> None:
    closed = []

    def source() -> Iterator[str]:
        try:
            yield "a"
        finally:
            closed.append(threading.get_ident())

    producer = events(source())
    next(producer)
    producer.close()
    assert closed
    events(["a"]).close()  # a list has nothing to close
    assert events(source()).__qualname__.endswith("source")


def test_a_response(run: Run, exchange: Any) -> None:
    async def main() -> None:
        one = exchange()
        await EventResponse(["a"], headers={"Cache-Control": "private"})(one.scope, one.receive, one.send)
        assert one.messages[0]["headers"] == [
            (b"cache-control", b"private"),
            (b"x-accel-buffering", b"no"),
            (b"content-type", b"text/event-stream"),
        ]
        assert one.body == b"data: a\n\n"
        assert one.complete

    run(main)


def test_comments_end_silence(run: Run, exchange: Any, watched: Any) -> None:
    """The client leaves after the headers and two comments; the producer has emitted nothing by then."""
    producer = watched([None])

    async def main() -> None:
        one = exchange(leave_after=4)
        await EventResponse(producer.rows(), keep_alive=0.001, stop=producer.stopped.set)(one.scope, one.receive, one.send)
        assert [message["type"] for message in one.messages[:2]] == ["http.response.start", "http.response.body"]
        assert list(read(one.body.decode())) == []
        assert one.body.startswith(b":\n\n:\n\n:\n\n")
        assert not one.complete

    run(main)
    assert producer.ended_in_worker


def test_no_comment_comes_between_the_headers_and_the_end_of_a_message(run: Run, exchange: Any, watched: Any) -> None:
    """Messages are sent one at a time, though two tasks send them."""

    class Slow(exchange):  # type: ignore[misc, valid-type]
        sending = False

        async def send(self, message: dict[str, Any]) -> None:
            assert not self.sending
            self.sending = True
            for _ in range(5):
                await sleep(0.001)
            self.sending = False
            await super().send(message)

    async def main() -> None:
        from trio_spool.asgi import _beside

        nonlocal sleep
        sleep = _beside.sleep
        one = Slow(leave_after=10)
        producer = watched(["a"] * 20 + [None])
        await EventResponse(producer.rows(), keep_alive=0.0005, stop=producer.stopped.set)(one.scope, one.receive, one.send)

    sleep: Any = None
    run(main)
