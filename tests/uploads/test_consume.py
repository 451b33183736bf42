"""consume: an async source, a blocking function."""

from __future__ import annotations

import asyncio
import contextvars
import random
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from trio_spool import SpoolBrokenError
from trio_spool.uploads import SpoolReader, consume


async def forever() -> None:
    await (trio.sleep_forever() if trio.lowlevel.in_trio_run() else asyncio.Event().wait())


async def chunks(number: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield bytes(size)


async def then_silence(*fed: bytes) -> AsyncIterator[bytes]:
    for chunk in fed:
        yield chunk
    await forever()


async def then_fails(*fed: bytes) -> AsyncIterator[bytes]:
    for chunk in fed:
        yield chunk
    raise LookupError("the source failed")


def count(file: SpoolReader) -> int:
    return sum(map(len, iter(lambda: file.read(10_000), b"")))


def test_the_result_of_the_function(run) -> None:
    async def main() -> int:
        return await consume(chunks(1600), count)

    assert run(main) == 1600 * 65_536


def test_memory_is_bounded(run) -> None:
    async def main() -> int:
        async def source() -> AsyncIterator[bytes]:
            async for chunk in chunks(200):
                yield chunk

        def read(file: SpoolReader) -> int:
            count(file)
            return file.high_water

        return await consume(source(), read, window=100_000)

    assert run(main) < 100_000 + 65_536


def test_a_function_that_returns_early(run) -> None:
    closed: list[bool] = []

    async def main() -> bytes:
        async def source() -> AsyncIterator[bytes]:
            try:
                async for chunk in then_silence(b"abc"):
                    yield chunk
            finally:
                closed.append(True)

        return await consume(source(), lambda file: file.read(2))

    assert run(main) == b"ab"
    assert closed == [True]


def test_a_function_that_never_reads(run) -> None:
    async def main() -> str:
        return await consume(chunks(100), lambda file: "done")

    assert run(main) == "done"


def test_an_error_of_the_function(run) -> None:
    def fail(file: SpoolReader) -> None:
        file.read(1)
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await consume(then_silence(b"abc"), fail)

    run(main)


def test_an_error_of_the_source(run) -> None:
    async def main() -> None:
        with pytest.raises(LookupError, match="the source failed"):
            await consume(then_fails(b"abc"), count)

    run(main)


def test_an_error_of_the_source_that_the_function_survives(run) -> None:
    seen: list[BaseException] = []

    def read(file: SpoolReader) -> str:
        try:
            file.read()
        except SpoolBrokenError as exc:
            seen.append(exc)
        return "survived"

    async def main() -> None:
        with pytest.raises(LookupError, match="the source failed"):
            await consume(then_fails(b"abc"), read)

    run(main)
    assert isinstance(seen[0].__cause__, LookupError)


class Cancelling:
    """A function that is cancelled while it waits for the source, and what it saw."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.reads = threading.Event()
        self.seen: list[BaseException] = []
        self.ended = False
        self._error = error

    def read(self, file: SpoolReader) -> None:
        try:
            file.read(3)
            self.reads.set()
            file.read(1)
        except SpoolBrokenError as exc:
            self.seen.append(exc)
            if self._error is not None:
                raise self._error("in the handler") from None
            raise
        finally:
            self.ended = True

    async def run(self) -> Any:
        if trio.lowlevel.in_trio_run():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume, then_silence(b"abc"), self.read)
                await trio.to_thread.run_sync(self.reads.wait)
                nursery.cancel_scope.cancel()
        else:
            task = asyncio.create_task(consume(then_silence(b"abc"), self.read))
            await asyncio.to_thread(self.reads.wait)
            task.cancel()
            await task


def test_cancelling_wakes_the_function_and_waits_for_it() -> None:
    cancelling = Cancelling()
    trio.run(cancelling.run)
    assert cancelling.ended
    assert len(cancelling.seen) == 1


def test_cancelling_on_asyncio() -> None:
    cancelling = Cancelling()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelling.run())
    assert cancelling.ended
    assert len(cancelling.seen) == 1


def test_cancelling_does_not_hide_an_error(run) -> None:
    cancelling = Cancelling(ZeroDivisionError)

    async def main() -> None:
        try:
            await cancelling.run()
        except BaseException as exc:
            errors = getattr(exc, "exceptions", [exc])
            assert [type(error) for error in errors] == [ZeroDivisionError]
        else:
            pytest.fail("the error was lost")

    run(main)


def test_context_variables(run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> str:
        variable.set("of the caller")
        return await consume(chunks(1), lambda file: variable.get())

    assert run(main) == "of the caller"


def test_a_source_that_needs_no_closing(run) -> None:
    class Source:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return b"abc"

    async def main() -> bytes:
        return await consume(Source(), lambda file: file.read())

    assert run(main) == b"abcabcabc"


def test_ctrl_c_wakes_the_function_and_waits_for_it(run) -> None:
    reading = Cancelling()

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"
        await (
            trio.to_thread.run_sync(reading.reads.wait) if trio.lowlevel.in_trio_run() else asyncio.to_thread(reading.reads.wait)
        )
        signal.raise_signal(signal.SIGINT)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        run(lambda: consume(source(), reading.read))
    assert reading.ended
    assert isinstance(reading.seen[0], SpoolBrokenError)


@pytest.mark.parametrize("seed", range(20))
def test_cancellation_at_any_moment(run, seed: int) -> None:
    """The function has always ended when the cancellation arrives, and what it read is a part of what came."""
    dice = random.Random(seed)
    began, ended, read = threading.Event(), threading.Event(), bytearray()

    def function(file: SpoolReader) -> None:
        began.set()
        try:
            while piece := file.read1(dice.randrange(1, 3000)):
                read.extend(piece)
        finally:
            ended.set()

    async def source() -> AsyncIterator[bytes]:
        number = 0
        while True:
            yield number.to_bytes(4, "big") * 500
            number += 1

    async def main() -> None:
        seconds = dice.random() / 100
        if trio.lowlevel.in_trio_run():
            with trio.move_on_after(seconds):
                await consume(source(), function, window=5000)
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(consume(source(), function, window=5000), seconds)
        assert ended.is_set() or not began.is_set()

    threads = threading.active_count()
    run(main)
    assert read == b"".join(number.to_bytes(4, "big") * 500 for number in range(len(read) // 2000 + 1))[: len(read)]
    assert threading.active_count() <= threads + 1  # Trio keeps an idle worker for some seconds
