"""The end of the task that reads a stream stops it, unless that task was made for one batch. Nothing ever truncates in silence."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import trio

import trio_spool
from support.loops import Run, every_asyncio, every_loop
from trio_spool import SpoolBrokenError, SpoolLimits, stream, wait_closed

SMALL = SpoolLimits(window=1000, batch=300)


class Endless:
    """Makes a generator that never ends by itself, and notes that a worker has closed it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = self.closed = False
        self._error = error

    def rows(self) -> Iterator[bytes]:
        self.begun = True
        try:
            while True:
                yield b"x" * 100
        finally:
            assert threading.current_thread() is not threading.main_thread()
            self.closed = True
            if self._error is not None:
                raise self._error


class Silent:
    """Makes a generator that emits one fragment and is silent until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.begun = self.closed = False

    def rows(self) -> Iterator[bytes]:
        try:
            yield b"x"
            self.begun = True
            self.release.wait(60)
            yield b"y"
        finally:
            self.closed = True


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.001)


async def next_of(s: trio_spool.Stream) -> bytes:
    return await s.__anext__()


@every_loop
@pytest.mark.parametrize("phase", ["before the first byte", "in the middle", "silent", "paused"])
def test_the_reader_is_cancelled(run: Run, phase: str) -> None:
    """As by a framework that never closes what it iterates over, while somebody else still holds the stream."""
    silent, endless = Silent(), Endless()
    if phase == "before the first byte":
        producer, s = silent, stream(rest(silent.rows()))
    elif phase == "silent":
        producer, s = silent, stream(silent.rows())
    else:
        producer, s = endless, stream(endless.rows(), limits=SMALL)

    async def main() -> None:
        async def serve() -> None:
            received = 0
            async for batch in s:
                received += len(batch)
                if phase == "paused":
                    await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await until(lambda: producer.begun)
            await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        silent.release.set()
        await until(lambda: producer.closed)
        with pytest.raises(SpoolBrokenError):
            await next_of(s)
        await wait_closed()

    run(main)


@every_loop
@pytest.mark.parametrize("phase", ["before the first byte", "silent"])
def test_a_group_inside_of_the_reader_is_cancelled(run: Run, phase: str) -> None:
    """As Starlette does when the client leaves: the task itself ends as if nothing had happened."""
    silent = Silent()
    s = stream(rest(silent.rows()) if phase == "before the first byte" else silent.rows())

    async def main() -> None:
        async def handle() -> None:
            async def leave() -> None:
                await until(lambda: silent.begun)
                await anyio.sleep(0.01)
                inner.cancel_scope.cancel()

            async with anyio.create_task_group() as inner:
                inner.start_soon(leave)
                async for _ in s:
                    pass
            await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handle)
        silent.release.set()
        await until(lambda: silent.closed)
        with pytest.raises(SpoolBrokenError):
            await next_of(s)

    run(main)


@every_loop
def test_a_task_that_was_refused_is_not_the_reader(run: Run) -> None:
    silent = Silent()
    s = stream(silent.rows())

    async def main() -> None:
        async def read() -> None:
            async for _ in s:
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await until(lambda: silent.begun)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task"):
                await next_of(s)
            tasks.cancel_scope.cancel()
        silent.release.set()
        with pytest.raises(SpoolBrokenError):
            await next_of(s)
        await wait_closed()

    run(main)


def rest(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Swallow the first fragment."""
    try:
        next(rows)
        yield from rows
    finally:
        rows.close()  # type: ignore[attr-defined]


@every_loop
def test_a_reader_that_breaks_off_stops_it_at_its_end(run: Run) -> None:
    endless = Endless()
    s = stream(endless.rows(), limits=SMALL)

    async def main() -> None:
        async def read_two() -> None:
            await next_of(s)
            await next_of(s)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_two)
        await until(lambda: endless.closed)
        with pytest.raises(SpoolBrokenError):
            await next_of(s)

    run(main)


@every_loop
def test_a_task_for_each_batch_gets_everything(run: Run) -> None:
    """As with ``create_task(anext(stream))``: each of these tasks ends long before the stream."""
    rows = [b"%05d" % number for number in range(2000)]

    async def main() -> None:
        s = stream(iter(rows), limits=SMALL)
        received: list[bytes] = []
        ended = False

        async def read_one() -> None:
            nonlocal ended
            try:
                received.append(await next_of(s))
            except StopAsyncIteration:
                ended = True

        while not ended:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_one)
        assert b"".join(received) == b"".join(rows)

    run(main)


@every_loop
def test_one_task_after_the_other_reads_on(run: Run) -> None:
    """The end of a task that is no longer the reader, however often it has asked, does not stop the stream."""
    rows = [b"%05d" % number for number in range(2000)]

    async def main() -> None:
        s = stream(iter(rows), limits=SMALL)
        received: list[bytes] = []
        handed_on = anyio.Event()

        async def begin() -> None:
            received.append(await next_of(s))
            received.append(await next_of(s))
            tasks.start_soon(go_on)
            await handed_on.wait()

        async def go_on() -> None:
            async for batch in s:
                received.append(batch)
                handed_on.set()
                await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin)
        assert b"".join(received) == b"".join(rows)

    run(main)


@every_asyncio
def test_a_heartbeat_loop_gets_everything(run: Run) -> None:
    """It keeps one task for the next batch, and sends something else while that is not there."""
    turn = threading.Semaphore(0)

    def rows() -> Iterator[bytes]:
        for number in range(20):
            turn.acquire()
            yield b"%02d" % number

    async def main() -> None:
        s = stream(rows())
        received: list[bytes] = []
        heartbeats = 0
        asking = asyncio.ensure_future(next_of(s))
        while True:
            await asyncio.wait([asking], timeout=0.002)
            if not asking.done():
                heartbeats += 1
                turn.release()
                continue
            try:
                received.append(asking.result())
            except StopAsyncIteration:
                break
            except RuntimeError as exc:  # a task can't raise StopAsyncIteration on some Pythons
                assert isinstance(exc.__cause__, StopAsyncIteration)
                break
            asking = asyncio.ensure_future(next_of(s))
        assert b"".join(received) == b"".join(b"%02d" % number for number in range(20))
        assert heartbeats

    run(main)


@every_asyncio
def test_wait_for_a_batch_never_truncates_in_silence(run: Run) -> None:
    """Before Python 3.12 `asyncio.wait_for` cancels a task of its own, which stops the stream; after that, it goes on."""
    turn = threading.Semaphore(0)

    def rows() -> Iterator[bytes]:
        for number in range(5):
            turn.acquire()
            yield b"%d" % number

    async def main() -> None:
        s = stream(rows())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(next_of(s), 0.01)
        for _ in range(5):
            turn.release()
        if sys.version_info >= (3, 12):
            assert b"".join([batch async for batch in s]) == b"01234"
        else:
            with pytest.raises(SpoolBrokenError):
                await asyncio.wait_for(next_of(s), 60)
            await s.aclose()

    run(main)


@every_loop
def test_a_timeout_around_one_batch_loses_nothing(run: Run) -> None:
    turn = threading.Semaphore(0)

    def rows() -> Iterator[bytes]:
        for number in range(5):
            turn.acquire()
            yield b"%d" % number

    async def main() -> None:
        s = stream(rows())
        received = []
        timeouts = 0
        while len(b"".join(received)) < 5:  # one batch may have several
            with anyio.move_on_after(0.005) as scope:
                received.append(await next_of(s))
            if scope.cancelled_caught:
                timeouts += 1
                turn.release()
        assert b"".join(received) == b"01234"
        assert timeouts >= 5
        with pytest.raises(StopAsyncIteration):
            await next_of(s)

    run(main)


@every_loop
def test_a_task_that_reads_many_streams_is_not_remembered(run: Run) -> None:
    async def main() -> None:
        from trio_spool.streams._stream import find_host

        for _ in range(5):
            async for _ in stream([b"x"]):
                pass
            s = stream(Endless().rows(), limits=SMALL)
            await next_of(s)
            await s.aclose()
        host: Any = find_host()
        assert not host.running
        assert not (host._watched if hasattr(host, "_watched") else host._callbacks)

    run(main)


@every_asyncio
def test_an_error_that_nobody_awaits_goes_to_the_exception_handler(run: Run) -> None:
    seen: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
        async for _ in stream(Endless(ValueError("while closing")).rows(), limits=SMALL):
            break
        await wait_closed()
        ((context,),) = [seen]
        assert isinstance(context["exception"], ValueError)
        assert "Endless.rows" in context["message"]

    run(main)


def test_an_error_that_nobody_awaits_is_logged_on_trio(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async for _ in stream(Endless(ValueError("while closing")).rows(), limits=SMALL):
            break
        await wait_closed()

    with caplog.at_level(logging.ERROR, "trio_spool"):
        trio.run(main)
    (record,) = caplog.records
    assert "Endless.rows" in record.message
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "while closing"


@every_loop
def test_aclose_raises_the_error_of_closing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        s = stream(Endless(ValueError("while closing")).rows(), limits=SMALL)
        await next_of(s)
        with pytest.raises(ValueError, match="while closing"):
            await s.aclose()
        with pytest.raises(ValueError, match="in a block"):
            async with stream(Endless(ValueError("in a block")).rows(), limits=SMALL) as s:
                await next_of(s)

    run(main)
    assert not caplog.records


@every_loop
def test_aclose_outlasts_cancellation(run: Run) -> None:
    silent = Silent()
    returned = []

    async def main() -> None:
        s = stream(silent.rows())
        await next_of(s)

        async def close() -> None:
            try:
                await s.aclose()
            finally:
                returned.append(silent.closed)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
            threading.Timer(0.05, silent.release.set).start()
        assert returned == [True]

    run(main)


@every_loop
def test_the_end_of_the_loop_closes_what_is_left(run: Run) -> None:
    """`asyncio.run` and `trio.run` end after the producer's ``finally``, though nobody has closed the stream."""
    silent, endless = Silent(), Endless()
    kept = []

    async def main() -> None:
        for producer in (silent, endless):
            s = stream(producer.rows(), limits=SMALL)
            kept.append(s)
            await next_of(s)
        threading.Timer(0.05, silent.release.set).start()

    run(main)
    assert silent.closed
    assert endless.closed
    for s in kept:
        s.close()


@pytest.mark.parametrize("kept", [False, True])
def test_a_loop_that_is_closed_without_its_tasks(kept: bool) -> None:
    closed = threading.Event()
    closed_in = []

    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            closed_in.append(threading.current_thread())
            closed.set()

    streams = []

    async def read() -> None:
        s = stream(rows(), limits=SMALL)
        streams.append(s)
        await next_of(s)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(read())
    loop.close()
    if kept:
        streams[0].close()
    streams.clear()
    del loop
    gc.collect()
    assert closed.wait(60)
    assert closed_in != [threading.main_thread()]


@every_loop
def test_left_in_another_task(run: Run) -> None:
    """A stream may be read in one task and closed in another, as an async generator is by its framework."""
    endless = Endless()

    async def main() -> None:
        s = stream(endless.rows(), limits=SMALL)

        async def generate() -> Any:
            async with s:
                async for batch in s:
                    yield batch

        generator = generate()
        await generator.__anext__()

        async def close() -> None:
            await generator.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
        assert endless.closed

    run(main)


@every_loop
def test_what_never_began_is_closed(run: Run) -> None:
    """Its producer gets no turn, but its stop function is called, and a file would be closed."""
    called = []

    class Rows:
        def __iter__(self) -> Rows:
            return self

        def __next__(self) -> bytes:
            called.append("next")
            return b"x"

        def close(self) -> None:
            called.append("close")

    async def main() -> None:
        await stream(Rows(), stop=lambda: called.append("stop")).aclose()
        assert called == ["stop", "close"]
        called.clear()
        s = stream(Rows(), stop=lambda: called.append("stop"))
        s.close()
        await until(lambda: len(called) == 2)
        assert called == ["stop", "close"]
        with pytest.raises(SpoolBrokenError):
            await next_of(s)
        called.clear()
        stream(Rows(), stop=lambda: called.append("stop"))
        await until(lambda: len(called) == 2)
        assert called == ["stop", "close"]

    run(main)


@every_loop
def test_thousands_of_stalled_streams_hold_no_thread(run: Run) -> None:
    async def main() -> None:
        streams = [stream(Endless().rows(), limits=SMALL) for _ in range(300)]
        for s in streams:
            await next_of(s)
        await until(lambda: not any(s.statistics().workers for s in streams))
        assert threading.active_count() < 60
        for s in streams:
            s.close()
        await wait_closed()

    run(main)
