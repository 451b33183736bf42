"""What a response sends, when it starts its producer, and when it stops it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio

from trio_spool import SpoolLimits
from trio_spool.asgi import StreamResponse, WrongLengthError

Run = Callable[..., Any]


def answer(run: Run, exchange: Any, response: Callable[[], Any], **options: Any) -> Any:
    """Make a response, let it answer a request, and return the exchange."""

    async def main() -> None:
        exchanges.append(exchange(**options))
        await response()(exchanges[0].scope, exchanges[0].receive, exchanges[0].send)

    exchanges: list[Any] = []
    try:
        run(main)
    except Exception as error:
        exchanges[0].raised = error
    else:
        exchanges[0].raised = None
    return exchanges[0]


def test_a_whole_response(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched([b"one", b"two"])
    options = {"status": 201, "content_type": "text/csv", "headers": {"X-Name": "value"}}
    done = answer(run, exchange, lambda: StreamResponse(producer.rows(), **options))
    assert done.raised is None
    start = {"type": "http.response.start", "status": 201, "headers": [(b"x-name", b"value"), (b"content-type", b"text/csv")]}
    assert done.messages[0] == start
    assert done.body == b"onetwo"
    assert done.complete
    assert producer.ended_in_worker


def test_an_empty_body(run: Run, exchange: Any) -> None:
    done = answer(run, exchange, lambda: StreamResponse([]))
    assert done.raised is None
    assert done.body == b""
    assert done.complete


def test_a_function_that_writes(run: Run, exchange: Any) -> None:
    assert answer(run, exchange, lambda: StreamResponse(lambda out: out.write(b"written"))).body == b"written"


def fail_after(*fragments: bytes) -> Any:
    yield from fragments
    raise ValueError("the producer failed")


def test_a_failure_before_the_first_byte_leaves_the_status_open(run: Run, exchange: Any) -> None:
    done = answer(run, exchange, lambda: StreamResponse(fail_after()))
    assert isinstance(done.raised, ValueError)
    assert done.messages == []


def test_a_failure_after_some_bytes_is_no_end(run: Run, exchange: Any) -> None:
    done = answer(run, exchange, lambda: StreamResponse(fail_after(b"some")))
    assert isinstance(done.raised, ValueError)
    assert done.body == b"some"
    assert not done.complete


def test_a_client_that_leaves_before_the_first_byte(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched([None, b"late"])
    done = answer(run, exchange, lambda: StreamResponse(producer.rows(), stop=producer.stopped.set), leave_after=0)
    assert done.raised is None
    assert done.messages == []
    assert producer.ended_in_worker or not producer.begun


def test_a_client_that_leaves_in_the_middle(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched(itertools.repeat(b"row"))
    done = answer(run, exchange, lambda: StreamResponse(producer.rows()), leave_after=3)
    assert done.raised is None
    assert not done.complete
    assert producer.ended_in_worker


def test_a_client_that_leaves_while_the_producer_is_silent(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched([b"row", None])
    done = answer(run, exchange, lambda: StreamResponse(producer.rows(), stop=producer.stopped.set), leave_after=2)
    assert done.raised is None
    assert done.body == b"row"
    assert producer.ended_in_worker


def test_a_client_that_leaves_while_the_window_is_full(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched(itertools.repeat(b"row"))
    limits = SpoolLimits(window=30, batch=30)
    done = answer(run, exchange, lambda: StreamResponse(producer.rows(), limits=limits), leave_after=2, stall=True)
    assert done.raised is None
    assert producer.ended_in_worker


def test_a_server_that_says_by_an_error_that_the_client_has_left(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched(itertools.repeat(b"row"))
    done = answer(run, exchange, lambda: StreamResponse(producer.rows()), leave_after=2, error=BrokenPipeError())
    assert done.raised is None
    assert producer.ended_in_worker


def test_an_os_error_of_the_producer_is_a_failure(run: Run, exchange: Any) -> None:
    def rows() -> Any:
        yield b"row"
        raise FileNotFoundError("gone")

    assert isinstance(answer(run, exchange, lambda: StreamResponse(rows())).raised, FileNotFoundError)


def test_an_error_of_the_server_stops_the_producer(run: Run, exchange: Any, watched: Any) -> None:
    producer = watched(itertools.repeat(b"row"))
    done = answer(run, exchange, lambda: StreamResponse(producer.rows()), leave_after=2, error=RuntimeError("the server failed"))
    assert isinstance(done.raised, RuntimeError)
    assert producer.ended_in_worker


def test_an_error_of_the_end_is_raised_after_the_client_has_left(run: Run, exchange: Any) -> None:
    def rows() -> Any:
        try:
            while True:
                yield b"row"
        finally:
            raise ValueError("at the end")

    done = answer(run, exchange, lambda: StreamResponse(rows()), leave_after=3)
    assert isinstance(done.raised, ValueError)


@pytest.mark.parametrize("silence", [True, False])
def test_a_cancelled_response_ends_after_its_producer_on_trio(exchange: Any, watched: Any, silence: bool) -> None:
    producer = watched([b"row", None] if silence else itertools.repeat(b"row"))

    async def main() -> None:
        one = exchange()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(StreamResponse(producer.rows(), stop=producer.stopped.set), one.scope, one.receive, one.send)
            while len(one.messages) < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert producer.ended_in_worker

    trio.run(main)


@pytest.mark.parametrize("silence", [True, False])
def test_a_cancelled_response_ends_after_its_producer_on_asyncio(exchange: Any, watched: Any, silence: bool) -> None:
    producer = watched([b"row", None] if silence else itertools.repeat(b"row"))

    async def main() -> None:
        one = exchange()
        response = StreamResponse(producer.rows(), stop=producer.stopped.set)
        task = asyncio.ensure_future(response(one.scope, one.receive, one.send))
        while len(one.messages) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert producer.ended_in_worker

    asyncio.run(main())


class File:
    """An iterator that must be closed, used or not."""

    asked = closed = False

    def __iter__(self) -> File:
        return self

    def __next__(self) -> bytes:
        self.asked = True
        raise StopIteration

    def close(self) -> None:
        self.closed = True


def test_head_closes_the_producer_and_starts_nothing(run: Run, exchange: Any) -> None:
    file = File()
    done = answer(run, exchange, lambda: StreamResponse(file, headers={"content-length": "7"}), method="HEAD")
    assert done.raised is None
    assert [message["type"] for message in done.messages] == ["http.response.start", "http.response.body"]
    assert (b"content-length", b"7") in done.messages[0]["headers"]
    assert done.body == b""
    assert done.complete
    assert file.closed
    assert not file.asked


def test_the_length_that_was_promised(run: Run, exchange: Any) -> None:
    done = answer(run, exchange, lambda: StreamResponse([b"12", b"345"], headers={"Content-Length": "5"}))
    assert done.raised is None
    assert done.complete


@pytest.mark.parametrize(
    ("length", "message"), [(6, "1 bytes short"), (4, "1 bytes or more beyond"), (0, "5 bytes or more beyond")]
)
def test_another_length_than_was_promised(run: Run, exchange: Any, length: int, message: str) -> None:
    done = answer(run, exchange, lambda: StreamResponse([b"12345"], headers={"content-length": str(length)}))
    assert isinstance(done.raised, WrongLengthError)
    assert message in str(done.raised)
    assert not done.complete


def test_a_response_answers_once(run: Run, exchange: Any) -> None:
    response = StreamResponse([b"row"])
    assert answer(run, exchange, lambda: response).complete
    again = answer(run, exchange, lambda: response)
    assert isinstance(again.raised, RuntimeError)
    assert again.messages == []


def test_what_is_not_http(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="websocket"):
            await StreamResponse([])({"type": "websocket"}, None, None)

    run(main)


def test_what_is_not_a_producer() -> None:
    with pytest.raises(TypeError):
        StreamResponse(5)
