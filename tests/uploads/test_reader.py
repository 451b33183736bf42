"""SpoolReader: a blocking file that a task feeds."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import pickle
import random
import shutil
import tarfile
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from trio_spool import SpoolBrokenError
from trio_spool.uploads import SpoolReader


class Reading:
    """A thread that reads, and what came of it."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._read = read
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._read()
        except BaseException as exc:
            self.error = exc

    def join(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


async def pause(seconds: float = 0.0) -> None:
    """Let other tasks and threads run."""
    await (trio.sleep(seconds) if trio.lowlevel.in_trio_run() else asyncio.sleep(seconds))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await pause(0.001)


async def in_thread(function: Callable[[], Any]) -> Any:
    return await (trio.to_thread.run_sync(function) if trio.lowlevel.in_trio_run() else asyncio.to_thread(function))


async def beside(side: Callable[[], Any], main: Callable[[], Any]) -> Any:
    if not trio.lowlevel.in_trio_run():
        return (await asyncio.gather(side(), main()))[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side)
        return await main()


def waits_for_data(reader: SpoolReader) -> bool:
    return bool(reader._pipe._changed._waiters)


def test_reads_what_was_fed(run) -> None:
    chunks = [random.Random(seed).randbytes(seed * 997 % 70_000) for seed in range(40)]

    async def main() -> bytes:
        reader = SpoolReader(window=50_000)
        reading = Reading(reader.read)
        for chunk in chunks:
            await reader.feed(chunk)
        reader.feed_eof()
        return reading.join()

    assert run(main) == b"".join(chunks)


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
def test_reads_of_any_size(run, size: int) -> None:
    content = random.Random(size).randbytes(3000 if size == 1 else 300_000)

    async def main() -> bytes:
        reader = SpoolReader()
        reading = Reading(lambda: b"".join(iter(lambda: reader.read(size), b"")))
        for start in range(0, len(content), 10_007):
            await reader.feed(content[start : start + 10_007])
        reader.feed_eof()
        return reading.join()

    assert run(main) == content


def test_a_read_blocks_while_nothing_has_come(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        reading = Reading(lambda: reader.read1(100))
        await until(lambda: waits_for_data(reader))
        assert reading.result is None
        await reader.feed(b"abc")
        assert reading.join() == b"abc"

    run(main)


def test_feeding_waits_while_the_window_is_full(run) -> None:
    async def main() -> None:
        reader = SpoolReader(window=1000)
        fed: list[int] = []

        async def feed() -> None:
            for number in range(100):
                await reader.feed(bytes(300))
                fed.append(number)
            reader.feed_eof()

        async def read() -> int:
            await until(lambda: len(fed) == 3)
            for _ in range(20):
                await pause()
            assert len(fed) == 3  # the fourth chunk has crossed the window
            return await in_thread(lambda: sum(map(len, iter(lambda: reader.read(250), b""))))

        total = await beside(feed, read)
        assert total == 30_000
        assert reader.high_water < 1000 + 300

    run(main)


def test_feeding_goes_on_once_half_of_the_window_is_free(run) -> None:
    """The thread fetches data again only when it needs some: the next chunk should be there by then."""

    async def main() -> None:
        reader = SpoolReader(window=200_000)
        file = reader.raw
        reading = threading.Event()

        def read() -> None:
            reading.wait()
            for _ in range(2):
                assert file.read(50_000) == bytes(50_000)

        thread = Reading(read)
        waited: list[bool] = []

        async def feed() -> None:
            await reader.feed(bytes(200_000))
            waited.append(True)

        async def let_read() -> None:
            for _ in range(20):
                await pause()
            assert not waited
            reading.set()
            await in_thread(thread.join)

        await beside(feed, let_read)
        assert waited

    run(main)


def test_a_reader_that_breaks_off_raises_in_a_thread_that_waits(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        reading = Reading(lambda: reader.read(10))
        await until(lambda: waits_for_data(reader))
        reader.break_off(ConnectionResetError("the client has left"))
        with pytest.raises(SpoolBrokenError, match="before its end: the client has left") as caught:
            reading.join()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert isinstance(caught.value, OSError)  # what frameworks catch
        with pytest.raises(SpoolBrokenError):
            reader.read(1)

    run(main)


def test_breaking_off_drops_what_was_not_read(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        await reader.feed(b"abc")
        reader.break_off(ValueError("no"))
        with pytest.raises(SpoolBrokenError):
            reader.read(1)

    run(main)


def test_breaking_off_wakes_a_task_that_feeds(run) -> None:
    async def main() -> None:
        reader = SpoolReader(window=10)

        async def break_off() -> None:
            for _ in range(20):
                await pause()
            reader.break_off(ValueError("no"))

        await beside(lambda: reader.feed(bytes(100)), break_off)
        with pytest.raises(RuntimeError, match="after the end"):
            await reader.feed(b"x")

    run(main)


def test_closing_the_file_wakes_the_task_that_feeds(run) -> None:
    async def main() -> None:
        reader = SpoolReader(window=10)

        def close() -> None:
            assert reader.read1(1)
            reader.close()

        reading = Reading(close)
        await reader.feed(bytes(100))  # more than the window: it waits
        reading.join()
        assert reader.abandoned
        with pytest.raises(SpoolBrokenError, match="closed"):
            await reader.feed(b"x")
        with pytest.raises(ValueError, match="closed"):
            reader.read(1)

    run(main)


def test_dropping_the_file_wakes_the_task_that_feeds(run) -> None:
    async def main() -> None:
        reader = SpoolReader(window=10)
        feeding = reader.feed(bytes(100))
        pipe = reader._pipe
        feeding.close()
        pipe.feed(bytes(100))
        files = [reader]
        del reader, feeding
        thread = threading.Thread(target=lambda: (files.clear(), gc.collect()))
        thread.start()
        await pipe.wait_room()
        thread.join()

    run(main)


def test_feeding_after_the_end_is_an_error(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        reader.feed_eof()
        with pytest.raises(RuntimeError, match="after the end"):
            await reader.feed(b"x")

    run(main)


def test_waiting_until_the_thread_asks(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        go = threading.Event()
        asked: list[str] = []

        def read() -> bytes:
            go.wait()
            return reader.readline()

        reading = Reading(read)
        for _ in range(20):
            await pause()
        go.set()
        await reader.wait_wanted()
        asked.append("asked")
        await reader.feed(b"one\ntwo")
        reader.feed_eof()
        assert reading.join() == b"one\n"
        assert reader.read() == b"two"

    run(main)


def test_a_task_can_end_the_waiting_itself(run) -> None:
    async def main() -> None:
        reader = SpoolReader()
        reader.want()
        await reader.wait_wanted()

    run(main)


def test_a_mutable_chunk_is_copied(run) -> None:
    async def main() -> bytes:
        reader = SpoolReader()
        chunk = bytearray(b"abc")
        await reader.feed(chunk)
        chunk[:] = b"xyz"
        await reader.feed(memoryview(b"def"))
        reader.feed_eof()
        return reader.read()

    assert run(main) == b"abcdef"


def in_small_chunks(run: Callable[..., Any], content: bytes, read: Callable[[SpoolReader], Any]) -> Any:
    async def main() -> Any:
        reader = SpoolReader()
        reading = Reading(lambda: read(reader))
        for start in range(0, len(content), 1009):
            await reader.feed(content[start : start + 1009])
        reader.feed_eof()
        return reading.join()

    return run(main)


def test_csv_reads_it(run) -> None:
    content = "".join(f'{n},"a\n{n}"\r\n' for n in range(2000)).encode()
    rows = in_small_chunks(run, content, lambda file: list(csv.reader(io.TextIOWrapper(file, newline=""))))
    assert rows == [[str(n), f"a\n{n}"] for n in range(2000)]


def test_tarfile_reads_it(run) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("file")
        info.size = 50_000
        tar.addfile(info, io.BytesIO(bytes(50_000)))

    def read(file: SpoolReader) -> list[tuple[str, int]]:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            return [(member.name, member.size) for member in tar]

    assert in_small_chunks(run, archive.getvalue(), read) == [("file", 50_000)]


def test_pickle_and_copyfileobj_read_it(run) -> None:
    value = [list(range(1000)), "x" * 5000]
    assert in_small_chunks(run, pickle.dumps(value), pickle.load) == value

    def copy(file: SpoolReader) -> bytes:
        shutil.copyfileobj(file, target := io.BytesIO())
        return target.getvalue()

    assert in_small_chunks(run, bytes(30_000), copy) == bytes(30_000)


def test_lines(run) -> None:
    content = b"one\ntwo\n\nlast"
    assert in_small_chunks(run, content, list) == [b"one\n", b"two\n", b"\n", b"last"]
    assert in_small_chunks(run, content, lambda file: file.readlines(5)) == [b"one\n", b"two\n"]
    assert in_small_chunks(run, content, lambda file: [file.readline(2), file.readline(), file.readline(100)]) == [
        b"on",
        b"e\n",
        b"two\n",
    ]


@pytest.mark.parametrize(("window", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_wrong_window(run, window: Any, error: type[Exception]) -> None:
    async def main() -> None:
        with pytest.raises(error, match="window"):
            SpoolReader(window=window)

    run(main)
