"""open_spool: what it promises."""

from __future__ import annotations

import gc
import io
import sys
import threading
import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from support.spools import collect
from trio_spool import SpoolLimits, SpoolWriter, open_spool
from trio_spool._core.trio._loop import trio_loop

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)


async def test_gives_a_channel(until) -> None:
    spool = open_spool([b"a"])
    async with spool as batches:
        assert isinstance(batches, trio.abc.ReceiveChannel)
        await until(lambda: spool.statistics().high_water)
        with batches.clone() as clone:
            assert clone.receive_nowait() == b"a"
        with pytest.raises(trio.ClosedResourceError):
            clone.receive_nowait()
        with pytest.raises(trio.EndOfChannel):
            await batches.receive()
        with pytest.raises(trio.EndOfChannel):
            batches.receive_nowait()


async def test_receiving_without_waiting() -> None:
    go_on = threading.Event()

    def generate():
        go_on.wait()
        yield b"a"

    async with open_spool(generate()) as batches, trio.open_nursery() as nursery:
        with pytest.raises(trio.WouldBlock):
            batches.receive_nowait()
        received = []

        async def receive() -> None:
            received.append(await batches.receive())

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        go_on.set()
        with pytest.raises(trio.WouldBlock):  # another task waits for it
            batches.receive_nowait()
    assert received == [b"a"]


async def test_several_tasks_receive() -> None:
    """Each batch goes to one of them, and all get to the end."""
    received: list[bytes] = []

    async def receive(channel) -> None:
        async with channel:
            async for batch in channel:
                received.append(batch)

    fragments = [b"%d," % number for number in range(3000)]
    async with open_spool(fragments, limits=SMALL) as batches, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(receive, batches.clone())
        batches.close()
    assert b"".join(received) == b"".join(fragments)


async def test_a_channel_that_is_closed_while_a_task_receives() -> None:
    go_on = threading.Event()

    def generate():
        go_on.wait()
        yield b"a"

    async with open_spool(generate()) as batches, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await batches.receive()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        batches.close()
        await wait_all_tasks_blocked()
        go_on.set()


@pytest.mark.parametrize("beside", [False, True])
async def test_a_failure_comes_out_of_a_nursery_as_it_is(beside: bool) -> None:
    class Boom(Exception):
        pass

    def generate():
        yield b"a"
        raise Boom

    async def main() -> None:
        async with open_spool(generate()) as batches, trio.open_nursery() as nursery:

            async def receive() -> None:
                async for _ in batches:
                    pass

            async def fail() -> None:
                await trio.sleep_forever()
                raise AssertionError

            async def wait_and_fail() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError

            nursery.start_soon(receive)
            nursery.start_soon(wait_and_fail if beside else fail)

    if beside:
        with pytest.raises(ExceptionGroup):
            await main()
    else:
        with pytest.raises(Boom):
            await main()


async def test_left_in_another_task() -> None:
    """As by a framework that drops an async generator: an error that says so, and nothing else is damaged."""
    closed_in: list[str] = []

    def generate():
        try:
            while True:
                yield b"x" * 100
        finally:
            closed_in.append(threading.current_thread().name)

    async def body():
        async with open_spool(generate(), limits=SMALL) as batches:
            async for batch in batches:
                yield batch

    generator = body()

    async def read_one() -> None:
        await generator.__anext__()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_one)
    assert closed_in == []
    with pytest.raises(RuntimeError, match=r"read_one and left by another one, .*trio_spool\.stream"):
        await generator.aclose()
    assert len(closed_in) == 1
    assert threading.current_thread().name not in closed_in
    assert await collect([b"ok"]) == b"ok"


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
    from trio_spool._core.handover import _emission

    monkeypatch.setattr(_emission, "PATIENCE", 3600)
    emitted = []

    def endless():
        while True:
            emitted.append(100)
            yield b"x" * 100

    async def parked() -> None:
        while not spool._handoff._baton.parked:
            await trio.sleep(0.001)

    spool = open_spool(endless(), limits=SMALL)
    async with spool:
        await parked()
        before = len(emitted)
        for _ in range(20):
            # What a worker asks for when it yields may be carried out when it is already waiting for room.
            spool._handoff._yielded()
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


@pytest.mark.parametrize("bad", ["text", 5, None, [1, 2]])
@pytest.mark.parametrize("before", [0, 3])
async def test_a_fragment_that_is_not_bytes(bad: object, before: int) -> None:
    received = []
    with pytest.raises(TypeError, match=type(bad).__name__):
        async with open_spool([b"ok"] * before + [bad]) as batches:
            async for batch in batches:
                received.append(batch)
    assert b"".join(received) == b"ok" * before


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
    assert trio_loop() is trio_loop()
    assert trio_loop().limiters["iterables"] is not trio.to_thread.current_default_thread_limiter()


async def test_nothing_is_left_behind() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(20):
        async with open_spool(b"x" * 100 for _ in range(10_000)) as batches:
            await batches.receive()
    gc.collect()
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_producer_may_ask_whether_it_was_cancelled() -> None:
    started = threading.Event()

    def write(out: SpoolWriter) -> None:
        started.set()
        while True:
            trio.from_thread.check_cancelled()
            time.sleep(0.001)

    async with open_spool(write):
        await trio.to_thread.run_sync(started.wait)
