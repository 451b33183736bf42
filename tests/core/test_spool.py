"""open_spool: what it promises."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import pickle
import shutil
import sys
import tarfile
import threading
import time
import zipfile

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from trio_spool import SpoolBrokenError, SpoolLimits, SpoolWriter, open_spool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)


async def collect(producer, **kwargs) -> bytes:
    async with open_spool(producer, **kwargs) as batches:
        return b"".join([batch async for batch in batches])


async def test_gives_a_memory_channel() -> None:
    async with open_spool([b"a"]) as batches:
        assert isinstance(batches, trio.MemoryReceiveChannel)


@pytest.mark.parametrize("limits", [SpoolLimits(), SMALL, SpoolLimits(window=1, batch=1)])
async def test_exactness_iterable(limits: SpoolLimits) -> None:
    fragments = [b"%d," % number * (number % 7) for number in range(3000)]
    assert await collect(iter(fragments), limits=limits) == b"".join(fragments)


@pytest.mark.parametrize("limits", [SpoolLimits(), SMALL, SpoolLimits(window=1, batch=1)])
async def test_exactness_writer(limits: SpoolLimits) -> None:
    fragments = [b"%d," % number for number in range(2000)]

    def write(out: SpoolWriter) -> None:
        for fragment in fragments:
            assert out.write(fragment) == len(fragment)

    assert await collect(write, limits=limits) == b"".join(fragments)


@given(
    fragments=st.lists(st.binary(max_size=600), max_size=60),
    window=st.integers(1, 1500),
    batch=st.integers(1, 700),
    low=st.floats(0, 0.99),
    writes=st.booleans(),
)
def test_any_fragments_any_limits(fragments: list[bytes], window: int, batch: int, low: float, writes: bool) -> None:
    limits = SpoolLimits(window=window, batch=batch, low_water=int(window * low))

    def write(out: SpoolWriter) -> None:
        for fragment in fragments:
            out.write(fragment)

    async def main() -> None:
        spool = open_spool(write if writes else iter(fragments), limits=limits)
        async with spool as batches:
            received = [batch async for batch in batches]
        assert b"".join(received) == b"".join(fragments)
        longest = max(map(len, fragments), default=0)
        assert all(received)
        assert max(map(len, received), default=0) <= batch + longest
        statistics = spool.statistics()
        assert statistics.high_water <= window + longest
        assert statistics.bytes == sum(map(len, fragments))
        assert statistics.batches == len(received)

    trio.run(main)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_fragments_are_copied_when_emitted(kind: type) -> None:
    def reuse():
        buffer = bytearray(4)
        for number in range(100):
            buffer[:] = b"%04d" % number
            yield kind(buffer)

    assert await collect(reuse()) == b"".join(b"%04d" % number for number in range(100))


async def test_memoryview_of_wider_items() -> None:
    import array

    numbers = array.array("I", range(50))
    assert await collect([memoryview(numbers), numbers]) == numbers.tobytes() * 2


async def test_byte_bound_of_a_stalled_receiver() -> None:
    emitted = []

    def endless():
        while True:
            emitted.append(100)
            yield b"x" * 100

    spool = open_spool(endless(), limits=SMALL)
    async with spool as batches:
        await batches.receive()
        await _settled(lambda: sum(emitted))
        taken = spool.statistics().bytes
        assert sum(emitted) - taken <= SMALL.window + 100
    assert spool.statistics().high_water <= SMALL.window + 100


async def test_a_stray_wakeup_lets_nothing_past_the_window(monkeypatch) -> None:
    from trio_spool._core import _handoff

    monkeypatch.setattr(_handoff, "PATIENCE", 3600)
    emitted = []

    def endless():
        while True:
            emitted.append(100)
            yield b"x" * 100

    async def parked() -> None:
        while not spool._handoff._parked:
            await trio.sleep(0.001)

    spool = open_spool(endless(), limits=SMALL)
    async with spool:
        await parked()
        before = len(emitted)
        for _ in range(20):
            # What a worker asks for when it yields may be carried out when it is already waiting for room.
            spool._handoff._consider_parked(True)
            await parked()
        assert len(emitted) == before


async def _settled(measure) -> None:
    """Wait until a number that threads change has stopped changing."""
    before = -1
    while (now := measure()) != before:
        before = now
        await trio.sleep(0.05)


async def test_empty_fragments_do_not_make_it_endless_to_stop() -> None:
    def empties():
        while True:
            yield b""

    async with open_spool(empties()):
        pass


async def test_first_fragment_is_not_held_back() -> None:
    release = threading.Event()

    def slow():
        yield b"first"
        release.wait()
        yield b"second"

    async with open_spool(slow()) as batches:
        assert await batches.receive() == b"first"
        release.set()
        assert await batches.receive() == b"second"
        with pytest.raises(trio.EndOfChannel):
            await batches.receive()


@pytest.mark.parametrize("writer", [False, True])
async def test_what_was_emitted_is_there_while_its_producer_sleeps(writer: bool) -> None:
    """Also what was written in a run that is still going on, and was never waited for."""
    emitted, release = threading.Event(), threading.Event()

    def bursts():
        for _ in range(5):
            for _ in range(100):
                yield b"x"
            emitted.set()
            release.wait()
            release.clear()

    def write(out: SpoolWriter) -> None:
        for fragment in bursts():
            out.write(fragment)

    async with open_spool(write if writer else bursts()) as batches:
        for _ in range(5):
            await trio.to_thread.run_sync(emitted.wait)
            emitted.clear()
            received = 0
            while received < 100:
                received += len(await batches.receive())
            assert received == 100
            release.set()
        with pytest.raises(trio.EndOfChannel):
            await batches.receive()


async def test_every_fragment_of_a_slow_producer_arrives_alone() -> None:
    turn = threading.Semaphore(0)

    def stepwise():
        for number in range(50):
            turn.acquire()
            yield b"%d" % number

    async with open_spool(stepwise()) as batches:
        for number in range(50):
            turn.release()
            assert await batches.receive() == b"%d" % number


async def test_few_wakeups_for_many_fragments() -> None:
    spool = open_spool(b"x" * 100 for _ in range(50_000))
    async with spool as batches:
        async for _ in batches:
            pass
    statistics = spool.statistics()
    assert statistics.fragments == 50_000
    assert statistics.wakeups < 5_000
    assert statistics.batches < 5_000


async def test_turns_one_thread_serves_many_stalled_clients() -> None:
    limiter = trio.CapacityLimiter(1)

    def endless():
        while True:
            yield b"x" * 100

    async with trio.open_nursery() as nursery:

        async def stalled() -> None:
            async with open_spool(endless(), limits=SMALL, limiter=limiter):
                await trio.sleep_forever()

        for _ in range(200):
            nursery.start_soon(stalled)
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            data = await collect((b"%04d" % number for number in range(5000)), limits=SMALL, limiter=limiter)
        assert data == b"".join(b"%04d" % number for number in range(5000))
        nursery.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 0


async def test_a_full_window_gives_the_thread_back() -> None:
    limiter = trio.CapacityLimiter(1)

    def endless():
        while True:
            yield b"x" * 100

    spool = open_spool(endless(), limits=SMALL, limiter=limiter)
    async with spool as batches:
        await batches.receive()
        with trio.fail_after(60):
            while limiter.borrowed_tokens:
                await trio.sleep(0.001)
        turns = spool.statistics().turns
        while spool.statistics().turns == turns:
            await batches.receive()
    assert limiter.borrowed_tokens == 0


async def test_resumed_on_draining_to_the_low_water_mark() -> None:
    limits = SpoolLimits(window=1000, batch=1, low_water=0)
    assert len(await collect((b"x" * 99 for _ in range(300)), limits=limits)) == 99 * 300


async def test_generator_is_closed_in_a_worker_thread() -> None:
    closed_in = []

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            closed_in.append(threading.current_thread())

    async with open_spool(generate(), limits=SMALL) as batches:
        await batches.receive()
    assert len(closed_in) == 1
    assert closed_in[0] is not threading.main_thread()


async def test_paused_generator_is_closed_though_the_limiter_is_exhausted() -> None:
    limiter = trio.CapacityLimiter(1)
    closed = []

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            closed.append(True)

    async with open_spool(generate(), limits=SMALL, limiter=limiter) as batches:
        await batches.receive()
        with trio.fail_after(60):
            await limiter.acquire()
    assert closed == [True]
    limiter.release()


async def test_blocked_write_is_released_at_once() -> None:
    raised = []

    def write(out: SpoolWriter) -> None:
        try:
            while True:
                out.write(b"x" * 100)
        except SpoolBrokenError as exc:
            raised.append(exc)
            raise

    async with open_spool(write, limits=SMALL) as batches:
        await batches.receive()
    assert isinstance(raised[0], trio.BrokenResourceError)
    assert isinstance(raised[0], BrokenPipeError)


async def test_writes_go_on_failing_after_the_reader_is_gone() -> None:
    failures = []

    def stubborn(out: SpoolWriter) -> None:
        while len(failures) < 3:
            try:
                out.write(b"x" * 100)
            except BrokenPipeError as exc:
                failures.append(exc)

    async with open_spool(stubborn, limits=SMALL) as batches:
        await batches.receive()
    assert len(failures) == 3


async def test_block_does_not_end_before_its_producer() -> None:
    entered = threading.Event()
    ended = []

    def slow():
        yield b"x"
        entered.set()
        time.sleep(0.05)
        ended.append(True)
        yield b"y"

    async with open_spool(slow()) as batches:
        await batches.receive()
        await trio.to_thread.run_sync(entered.wait)
    assert ended == [True]


@pytest.mark.parametrize("writer", [False, True])
async def test_cancellation_stops_the_producer(writer: bool) -> None:
    ended = []

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            ended.append(True)

    def write(out: SpoolWriter) -> None:
        try:
            while True:
                out.write(b"x" * 100)
        finally:
            ended.append(True)

    with trio.move_on_after(0.05) as scope:
        async with open_spool(write if writer else generate(), limits=SMALL):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == [True]


async def test_cancelled_while_it_waits_for_a_thread() -> None:
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()
    started = []

    def generate():
        started.append(True)
        yield b"x"

    with trio.move_on_after(0.02) as scope:
        await collect(generate(), limiter=limiter)
    assert scope.cancelled_caught
    assert started == []


class Boom(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 500, 999, 1000])
@pytest.mark.parametrize("writer", [False, True])
async def test_error_comes_after_every_byte_before_it(at: int, writer: bool) -> None:
    def generate():
        for number in range(at):
            yield b"%04d" % number
        raise Boom("here")

    def write(out: SpoolWriter) -> None:
        for fragment in generate():
            out.write(fragment)

    received = []
    with pytest.raises(Boom, match="here") as caught:
        async with open_spool(write if writer else generate(), limits=SpoolLimits(window=500, batch=100)) as batches:
            async for batch in batches:
                received.append(batch)
                await trio.lowlevel.checkpoint()
            received.append(b"not reached")
    assert b"".join(received) == b"".join(b"%04d" % number for number in range(at))
    frames = [entry.name for entry in caught.traceback]
    assert "generate" in frames


async def test_an_error_does_not_interrupt_work_on_the_last_batch() -> None:
    finished = []

    def generate():
        yield b"last"
        raise Boom

    with pytest.raises(Boom):
        async with open_spool(generate()) as batches:
            async for batch in batches:
                await trio.sleep(0.05)
                finished.append(batch)
    assert finished[0] == b"last"


async def test_a_group_raised_by_a_producer_stays_a_group() -> None:
    def generate():
        yield b"x"
        raise ExceptionGroup("both", [Boom(), ValueError()])

    with pytest.RaisesGroup(Boom, ValueError):
        await collect(generate())


async def test_error_while_closing_is_raised() -> None:
    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            raise Boom("while closing")

    with pytest.raises(Boom, match="while closing"):
        async with open_spool(generate(), limits=SMALL) as batches:
            await batches.receive()


async def test_error_of_a_writer_after_its_reader_left_is_raised() -> None:
    def write(out: SpoolWriter) -> None:
        try:
            while True:
                out.write(b"x" * 100)
        except BrokenPipeError:
            raise Boom from None

    with pytest.raises(Boom):
        async with open_spool(write, limits=SMALL) as batches:
            await batches.receive()


async def test_an_error_nobody_got_to_is_dropped() -> None:
    failed = threading.Event()

    def generate():
        yield b"x"
        failed.set()
        raise Boom

    async with open_spool(generate()):
        await trio.to_thread.run_sync(failed.wait)


async def test_bodys_own_error_is_not_wrapped() -> None:
    with pytest.raises(Boom):
        async with open_spool(b"x" * 100 for _ in range(1000)):
            raise Boom


async def test_receiver_closed_early_stops_the_producer() -> None:
    closed = threading.Event()

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            closed.set()

    async with open_spool(generate(), limits=SMALL) as batches:
        await batches.receive()
        batches.close()
        with trio.fail_after(60):
            await trio.to_thread.run_sync(closed.wait)


@pytest.mark.parametrize("bad", ["text", 5, None, [1, 2]])
@pytest.mark.parametrize("before", [0, 3])
async def test_a_fragment_that_is_not_bytes(bad: object, before: int) -> None:
    received = []
    with pytest.raises(TypeError, match=type(bad).__name__):
        async with open_spool([b"ok"] * before + [bad]) as batches:
            async for batch in batches:
                received.append(batch)
    assert b"".join(received) == b"ok" * before


async def test_writing_what_is_not_bytes() -> None:
    with pytest.raises(TypeError, match="str"):
        await collect(lambda out: out.write("text"))


async def test_a_fragment_larger_than_the_window() -> None:
    big = bytes(range(256)) * 100
    assert await collect([b"a", big, b"b", big], limits=SMALL) == b"a" + big + b"b" + big


@pytest.mark.parametrize("producer", [b"bytes", "text", bytearray(b"x"), memoryview(b"x")])
def test_a_fragment_is_not_a_producer(producer: object) -> None:
    with pytest.raises(TypeError, match="Put it in a list"):
        open_spool(producer)


def test_async_code_is_not_a_producer() -> None:
    async def generate():
        yield b"x"

    async def function(out: SpoolWriter) -> None:
        pass

    for producer in (generate, generate(), function):
        with pytest.raises(TypeError, match="async"):
            open_spool(producer)


def test_anything_else_is_not_a_producer() -> None:
    with pytest.raises(TypeError, match="not 5"):
        open_spool(5)


async def test_is_entered_once() -> None:
    spool = open_spool([b"x"])
    assert spool.statistics().turns == 0
    async with spool:
        pass
    with pytest.raises(RuntimeError, match="once"):
        async with spool:
            pass


async def test_an_iterator_is_closed_at_its_end() -> None:
    file = io.BytesIO(b"one\ntwo\n")
    assert await collect(file) == b"one\ntwo\n"
    assert file.closed


async def test_default_limiter_is_shared_and_its_own() -> None:
    from trio_spool._core._workers import limiters

    assert limiters() is limiters()
    assert limiters().iterables is not trio.to_thread.current_default_thread_limiter()


async def test_nothing_is_left_behind() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(20):
        async with open_spool(b"x" * 100 for _ in range(10_000)) as batches:
            await batches.receive()
    gc.collect()
    assert trio.lowlevel.current_statistics().tasks_living == before


# The writer is a real file


async def test_csv_through_a_text_wrapper() -> None:
    rows = [[str(number), "ü" * (number % 5)] for number in range(500)]

    def write(out: SpoolWriter) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
        csv.writer(text).writerows(rows)
        text.flush()
        text.detach()

    data = await collect(write, limits=SMALL)
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == rows


async def test_tarfile() -> None:
    def write(out: SpoolWriter) -> None:
        with tarfile.open(fileobj=out, mode="w|") as tar:
            for number in range(10):
                info = tarfile.TarInfo(f"file{number}")
                info.size = 1000 * number
                tar.addfile(info, io.BytesIO(b"%d" % number * info.size))

    data = await collect(write, limits=SMALL)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [member.size for member in tar] == [1000 * number for number in range(10)]


async def test_gzip() -> None:
    content = bytes(range(256)) * 500

    def write(out: SpoolWriter) -> None:
        with gzip.GzipFile(fileobj=out, mode="wb") as file:
            file.write(content)

    assert gzip.decompress(await collect(write, limits=SMALL)) == content


async def test_zipfile() -> None:
    def write(out: SpoolWriter) -> None:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(5):
                archive.writestr(f"file{number}", b"content" * number)

    with zipfile.ZipFile(io.BytesIO(await collect(write, limits=SMALL))) as archive:
        assert archive.testzip() is None
        assert archive.read("file4") == b"content" * 4


async def test_copyfileobj() -> None:
    content = bytes(range(256)) * 1000
    assert await collect(lambda out: shutil.copyfileobj(io.BytesIO(content), out), limits=SMALL) == content


async def test_pickle() -> None:
    content = {"list": list(range(10_000)), "bytes": b"x" * 100_000}
    assert pickle.loads(await collect(lambda out: pickle.dump(content, out), limits=SMALL)) == content


async def test_writer_is_a_raw_file() -> None:
    kept = []

    def write(out: SpoolWriter) -> None:
        kept.append(out)
        assert isinstance(out, io.RawIOBase)
        assert out.writable() and not out.readable() and not out.seekable()
        assert out.write(b"") == 0
        with pytest.raises(OSError):
            out.fileno()
        out.writelines([b"a", b"b"])

    assert await collect(write) == b"ab"
    with pytest.raises(ValueError, match="closed"):
        kept[0].write(b"late")


async def test_a_broken_spool_of_another_is_an_error_here() -> None:
    def write(out: SpoolWriter) -> None:
        raise SpoolBrokenError("some other spool")

    with pytest.raises(SpoolBrokenError, match="some other"):
        await collect(write)


async def test_producer_may_ask_whether_it_was_cancelled() -> None:
    started = threading.Event()

    def write(out: SpoolWriter) -> None:
        started.set()
        while True:
            trio.from_thread.check_cancelled()
            time.sleep(0.001)

    async with open_spool(write):
        await trio.to_thread.run_sync(started.wait)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"window": 0}, ValueError),
        ({"batch": -1}, ValueError),
        ({"window": "big"}, TypeError),
        ({"window": True}, TypeError),
        ({"window": 10, "low_water": 10}, ValueError),
        ({"low_water": -1}, ValueError),
        ({"low_water": 1.5}, TypeError),
    ],
)
def test_limits_are_validated(values: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        SpoolLimits(**values)


def test_limits_defaults() -> None:
    assert SpoolLimits(window=1000).low_water == 500


def test_statistics_add_up() -> None:
    from trio_spool import SpoolStatistics

    total = SpoolStatistics(bytes=1, high_water=5) + SpoolStatistics(bytes=2, high_water=3)
    assert (total.bytes, total.high_water) == (3, 5)
    with pytest.raises(TypeError):
        SpoolStatistics() + 1
