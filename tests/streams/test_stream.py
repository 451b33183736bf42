"""A stream is an async iterator over blocking code, on every loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import anyio
import pytest
import trio

import trio_spool
from support.loops import Run, every_loop
from trio_spool import SpoolBrokenError, SpoolLimits, stream, wait_closed

SMALL = SpoolLimits(window=1000, batch=300)


class Endless:
    """Makes a generator that never ends by itself, and notes in which thread it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed_in: list[threading.Thread] = []
        self._error = error

    def rows(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            self.closed_in.append(threading.current_thread())
            if self._error is not None:
                raise self._error

    @property
    def closed_in_a_worker(self) -> bool:
        return len(self.closed_in) == 1 and self.closed_in[0] is not threading.main_thread()


@every_loop
def test_everything_arrives_and_then_it_is_complete(run: Run) -> None:
    rows = [b"%05d\n" % number for number in range(20_000)]

    async def main() -> None:
        s = stream(iter(rows), limits=SpoolLimits(window=5000, batch=1000))
        assert b"".join([batch async for batch in s]) == b"".join(rows)
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext_(s)
        await s.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext_(s)
        assert s.statistics().bytes == 6 * 20_000

    run(main)


async def anext_(s: trio_spool.Stream) -> bytes:
    return await s.__anext__()


@every_loop
def test_a_function_that_writes(run: Run) -> None:
    def write(out: trio_spool.SpoolWriter) -> None:
        for number in range(1000):
            out.write(b"%04d" % number)

    async def main() -> None:
        data = b"".join([batch async for batch in stream(write, limits=SMALL)])
        assert data == b"".join(b"%04d" % number for number in range(1000))

    run(main)


@every_loop
def test_an_error_comes_after_the_last_byte_and_only_once(run: Run) -> None:
    def rows() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise ValueError("the disk is gone")

    async def main() -> None:
        s = stream(rows())
        received = []
        with pytest.raises(ValueError, match="the disk is gone"):
            async for batch in s:
                received.append(batch)
        assert b"".join(received) == b"onetwo"
        for _ in range(2):
            with pytest.raises(SpoolBrokenError) as caught:
                await anext_(s)
            assert isinstance(caught.value.__cause__, ValueError)
        await s.aclose()

    run(main)


@every_loop
def test_it_starts_when_it_is_first_asked_with_the_context_of_the_asker(run: Run) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    def rows() -> Iterator[bytes]:
        seen.append(variable.get())
        yield b"x"

    async def main() -> None:
        variable.set("made")
        s = stream(rows())
        await anyio.sleep(0.01)
        assert seen == []
        variable.set("asked")
        assert await anext_(s) == b"x"
        assert seen == ["asked"]
        await s.aclose()

    run(main)


@every_loop
def test_aclose_returns_after_the_producer(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        s = stream(endless.rows(), limits=SMALL)
        await anext_(s)
        await s.aclose()
        assert endless.closed_in_a_worker
        with pytest.raises(SpoolBrokenError):
            await anext_(s)
        await s.aclose()

    run(main)


@every_loop
def test_leaving_a_block_closes_it(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        async with stream(endless.rows(), limits=SMALL) as s:
            await anext_(s)
        assert endless.closed_in_a_worker

    run(main)


@every_loop
def test_close_in_another_thread(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        s = stream(endless.rows(), limits=SMALL)
        await anext_(s)
        await anyio.to_thread.run_sync(s.close)
        with pytest.raises(SpoolBrokenError):
            while True:
                await anext_(s)
        await wait_closed()
        assert endless.closed_in_a_worker

    run(main)


@every_loop
def test_close_wakes_a_task_that_waits(run: Run) -> None:
    release = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"x"
        release.wait()
        yield b"y"

    async def main() -> None:
        s = stream(silent())
        await anext_(s)

        async def read() -> None:
            with pytest.raises(SpoolBrokenError):
                await anext_(s)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            s.close()
        release.set()
        await s.aclose()

    run(main)


@every_loop
def test_dropping_it_closes_it(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        async for _ in stream(endless.rows(), limits=SMALL):
            break
        with anyio.fail_after(60):
            await wait_closed()
        assert endless.closed_in_a_worker

    run(main)


@every_loop
def test_two_tasks_cannot_ask_at_the_same_time(run: Run) -> None:
    release = threading.Event()

    def silent() -> Iterator[bytes]:
        release.wait()
        yield b"x"

    async def main() -> None:
        s = stream(silent())
        received = []

        async def read() -> None:
            received.append(await anext_(s))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task"):
                await anext_(s)
            release.set()
        assert received == [b"x"]

    run(main)


@every_loop
def test_wait_closed_waits_for_every_finally(run: Run) -> None:
    closed = []

    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            closed.append(True)

    async def main() -> None:
        streams = [stream(rows(), limits=SMALL) for _ in range(5)]
        for s in streams:
            await anext_(s)
        for s in streams:
            s.close()
        await wait_closed()
        assert len(closed) == 5
        await wait_closed()

    run(main)


def test_outside_of_a_loop() -> None:
    with pytest.raises(RuntimeError, match="Trio or asyncio"):
        stream([b"x"]).__anext__().send(None)


@pytest.mark.parametrize("bad", [b"x", "x", 5, None])
def test_what_is_not_a_producer_is_refused_at_once(bad: object) -> None:
    with pytest.raises(TypeError):
        stream(bad)  # type: ignore[arg-type]


@every_loop
def test_a_producer_that_is_silent_is_stopped_by_its_function(run: Run) -> None:
    stopped = threading.Event()
    threads = []

    def silent() -> Iterator[bytes]:
        yield b"x"
        stopped.wait()

    def stop() -> None:
        threads.append(threading.current_thread())
        stopped.set()

    async def main() -> None:
        s = stream(silent(), stop=stop)
        await anext_(s)
        await s.aclose()
        assert len(threads) == 1
        assert threads[0] is not threading.main_thread()

    run(main)


class Untouched:
    """An iterator that must be closed, used or not."""

    def __init__(self) -> None:
        self.asked = False
        self.closed_in: list[threading.Thread] = []

    def __iter__(self) -> Untouched:
        return self

    def __next__(self) -> bytes:
        self.asked = True
        raise StopIteration

    def close(self) -> None:
        self.closed_in.append(threading.current_thread())


@every_loop
def test_what_never_began_is_closed_as_well(run: Run) -> None:
    untouched = Untouched()
    stopped = []

    async def main() -> None:
        s = stream(untouched, stop=lambda: stopped.append(True))
        await s.aclose()
        assert not untouched.asked
        assert len(untouched.closed_in) == 1
        assert untouched.closed_in[0] is not threading.main_thread()
        assert stopped
        with pytest.raises(SpoolBrokenError):
            await anext_(s)

    run(main)


@every_loop
def test_items_arrive_in_lists(run: Run) -> None:
    async def main() -> None:
        rows = [(number, str(number)) for number in range(5000)]
        batches = [batch async for batch in stream(iter(rows), size=None)]
        assert [row for batch in batches for row in batch] == rows
        assert all(isinstance(batch, list) and batch for batch in batches)
        texts = ["x" * (number % 50) for number in range(5000)]
        sized = [batch async for batch in stream(texts, size=len, limits=SMALL)]
        assert [text for batch in sized for text in batch] == texts
        assert all(sum(map(len, batch)) <= SMALL.batch + 50 for batch in sized)

    run(main)


@every_loop
def test_stop_is_called_when_nobody_will_read_any_more(run: Run) -> None:
    """It releases a producer that is silent."""
    released = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"x"
        released.wait(60)
        yield b"y"

    async def main() -> None:
        s = stream(silent(), stop=released.set)
        await anext_(s)
        with anyio.fail_after(30):
            await s.aclose()

    run(main)


@every_loop
def test_a_limiter_of_another_loop_is_refused(run: Run) -> None:
    async def main() -> None:
        on_trio = trio.lowlevel.in_trio_run()
        bad = asyncio.Semaphore(1) if on_trio else trio.CapacityLimiter(1)
        for limiter in (bad, 5):
            s = stream([b"x"], limiter=limiter)
            with pytest.raises(TypeError, match=r"limiter on .* must be"):
                await anext_(s)
        await wait_closed()

    run(main)
