"""open_spool on asyncio keeps the promises of `trio_spool.open_spool`, on each of its loops."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import trio

from support.loops import Run, every_asyncio
from trio_spool import SpoolBrokenError, SpoolLimits, SpoolWriter
from trio_spool.asyncio import open_spool

SMALL = SpoolLimits(window=1000, batch=300)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


class Endless:
    """Makes a generator that never ends by itself, and notes that it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = False
        self._error = error

    def rows(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            assert threading.current_thread() is not threading.main_thread()
            self.closed = True
            if self._error is not None:
                raise self._error


class Stuck:
    """Makes a generator that is in the middle of a blocking call until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Event()
        self.closed = False

    def rows(self) -> Iterator[bytes]:
        try:
            yield b"x"
            self.entered.set()
            self.release.wait(60)
            yield b"y"
        finally:
            self.closed = True


async def until(condition: Callable[[], object]) -> None:
    for _ in range(60_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen in a minute")


async def collect(producer: Any, **kwargs: Any) -> bytes:
    async with open_spool(producer, **kwargs) as batches:
        return b"".join([batch async for batch in batches])


@every_asyncio
def test_exact_under_any_interleaving(run: Run) -> None:
    async def main() -> None:
        for seed in range(40):
            chance = random.Random(seed)
            fragments = [bytes([number % 256]) * chance.choice((0, 1, 9, 100, 700)) for number in range(chance.randrange(600))]
            window = chance.choice((1, 50, 1000, 100_000))
            limits = SpoolLimits(window=window, batch=chance.choice((1, 300, 5000)))
            as_function = chance.random() < 0.5

            def write(out: SpoolWriter, fragments: list[bytes] = fragments) -> None:
                for fragment in fragments:
                    out.write(fragment)

            spool = open_spool(write if as_function else iter(fragments), limits=limits)
            received = []
            async with spool as batches:
                async for batch in batches:
                    received.append(batch)
                    if chance.random() < 0.1:
                        await asyncio.sleep(0)
            assert b"".join(received) == b"".join(fragments), seed
            assert spool.statistics().high_water <= window + 700

    run(main)


@every_asyncio
def test_four_at_once(run: Run) -> None:
    async def main() -> None:
        def rows(start: int) -> Iterator[bytes]:
            for number in range(start, start + 100_000):
                yield b"%07d\n" % number

        received = await asyncio.gather(*(collect(rows(start)) for start in range(4)))
        for start in range(4):
            assert received[start] == b"".join(rows(start))

    run(main)


@every_asyncio
def test_receive_tells_the_end(run: Run) -> None:
    async def main() -> None:
        async with open_spool([b"x"]) as batches:
            assert await batches.receive() == b"x"
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await batches.receive()
        async with open_spool([b"x"]) as batches:
            pass
        with pytest.raises(SpoolBrokenError):
            await batches.receive()

    run(main)


@every_asyncio
@pytest.mark.parametrize("writer", [False, True])
def test_an_error_comes_after_the_last_byte(run: Run, writer: bool) -> None:
    def rows() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100
        raise ValueError("the disk is gone")

    def write(out: SpoolWriter) -> None:
        for row in rows():
            out.write(row)

    async def main() -> None:
        received = 0
        with pytest.raises(ValueError, match="the disk is gone"):
            async with open_spool(write if writer else rows(), limits=SMALL) as batches:
                async for batch in batches:
                    received += len(batch)
        assert received == 100_000

    run(main)


@every_asyncio
def test_an_error_that_is_handled_in_the_block_does_not_leave_it(run: Run) -> None:
    def rows() -> Iterator[bytes]:
        yield b"x"
        raise ValueError

    async def main() -> None:
        async with open_spool(rows()) as batches:
            with pytest.raises(ValueError):
                while True:
                    await batches.receive()
            with pytest.raises(SpoolBrokenError):
                await batches.receive()

    run(main)


@every_asyncio
@pytest.mark.parametrize("how", ["left", "raised", "cancelled", "timeout"])
def test_the_block_ends_after_its_producer(run: Run, how: str) -> None:
    endless = Endless()

    async def main() -> None:
        async def block() -> None:
            async with open_spool(endless.rows(), limits=SMALL) as batches:
                await batches.receive()
                if how == "raised":
                    raise KeyError
                if how != "left":
                    await asyncio.sleep(3600)

        if how == "left":
            await block()
        elif how == "raised":
            with pytest.raises(KeyError):
                await block()
        elif how == "timeout":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(block(), 0.05)
        else:
            task = asyncio.ensure_future(block())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
        assert endless.closed

    run(main)


@every_asyncio
def test_cancelled_again_and_again_while_the_producer_is_stuck(run: Run) -> None:
    stuck = Stuck()

    async def main() -> None:
        async def block() -> None:
            async with open_spool(stuck.rows()) as batches:
                async for _ in batches:
                    pass

        task = asyncio.ensure_future(block())
        await until(stuck.entered.is_set)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0.005)
        assert not task.done()
        stuck.release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stuck.closed

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is of Python 3.11")
@every_asyncio
def test_asyncio_timeout_and_task_group(run: Run) -> None:
    endless, other = Endless(), Endless()

    async def main() -> None:
        async def block(producer: Endless) -> None:
            async with open_spool(producer.rows(), limits=SMALL) as batches:
                await batches.receive()
                await asyncio.sleep(3600)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await block(endless)
        assert endless.closed
        await asyncio.sleep(0)  # nothing of the cancellation is left

        async def fail() -> None:
            await asyncio.sleep(0.02)
            raise KeyError

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(block(other))
                tasks.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert other.closed

    run(main)


@every_asyncio
def test_anyio_cancel_scope(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            async with open_spool(endless.rows(), limits=SMALL) as batches:
                await batches.receive()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert endless.closed
        await anyio.sleep(0)

    run(main)


@every_asyncio
def test_left_by_another_task_than_the_one_that_entered(run: Run) -> None:
    endless = Endless()

    async def main() -> None:
        spool = open_spool(endless.rows(), limits=SMALL)
        batches = await asyncio.ensure_future(spool.__aenter__())
        assert await batches.receive()
        await asyncio.ensure_future(spool.__aexit__(None, None, None))
        assert endless.closed

    run(main)


@every_asyncio
def test_a_closing_error_leaves_the_block(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="while closing"):
            async with open_spool(Endless(ValueError("while closing")).rows(), limits=SMALL) as batches:
                await batches.receive()
        with pytest.raises(BaseExceptionGroup) as caught:
            async with open_spool(Endless(ValueError("while closing")).rows(), limits=SMALL) as batches:
                await batches.receive()
                raise KeyError
        assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]

    run(main)


@every_asyncio
def test_a_closing_error_is_seen_though_the_block_is_cancelled(run: Run) -> None:
    """As in a task group, an error is worth more than a cancellation; from 3.13 on, both are kept."""
    went_on = []

    async def main() -> None:
        async def block() -> None:
            try:
                async with open_spool(Endless(ValueError("while closing")).rows(), limits=SMALL) as batches:
                    await batches.receive()
                    await asyncio.sleep(3600)
            except ValueError:
                await asyncio.sleep(0)
                went_on.append(True)

        task = asyncio.ensure_future(block())
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == (sys.version_info >= (3, 13))
        assert bool(went_on) == (sys.version_info < (3, 13))

    run(main)


@every_asyncio
def test_context_variables_are_those_of_who_enters(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen = []

    def rows() -> Iterator[bytes]:
        for _ in range(5):
            seen.append(variable.get())
            variable.set(f"turn {len(seen)}")
            yield b"x" * 1000

    async def main() -> None:
        variable.set("entered")
        await collect(rows(), limits=SMALL)
        assert seen == ["entered", "turn 1", "turn 2", "turn 3", "turn 4"]
        assert variable.get() == "entered"

    run(main)


@every_asyncio
def test_the_first_fragment_is_not_held_back(run: Run) -> None:
    release = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"first"
        release.wait(60)
        yield b"second"

    async def main() -> None:
        async with open_spool(slow()) as batches:
            assert await batches.receive() == b"first"
            release.set()
            assert await batches.receive() == b"second"

    run(main)


@every_asyncio
def test_other_tasks_run_while_batches_are_there(run: Run) -> None:
    """A receiver that never waits for the producer lets the loop go on all the same."""
    ticks = 0

    async def main() -> None:
        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.ensure_future(tick())
        async with open_spool([b"x" * 100] * 1000, limits=SpoolLimits(window=1_000_000, batch=100)) as batches:
            await asyncio.sleep(0.05)
            before, received = ticks, 0
            async for _ in batches:
                received += 1
            assert ticks - before >= received - 1
        ticking.cancel()

    run(main)


@every_asyncio
def test_a_cancelled_receive_loses_nothing(run: Run) -> None:
    turn = threading.Semaphore(0)

    def stepwise() -> Iterator[bytes]:
        for number in range(200):
            turn.acquire()
            yield b"%03d" % number

    async def main() -> None:
        received = []
        async with open_spool(stepwise()) as batches:
            chance = random.Random(1)
            while len(b"".join(received)) < 600:
                task = asyncio.ensure_future(batches.receive())
                if chance.random() < 0.7:
                    turn.release()
                for _ in range(chance.randrange(5)):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    received.append(task.result())
        assert b"".join(received) == b"".join(b"%03d" % number for number in range(200))

    run(main)


@every_asyncio
@pytest.mark.parametrize("make", [asyncio.Semaphore, asyncio.BoundedSemaphore, anyio.Semaphore, anyio.CapacityLimiter])
def test_one_place_serves_many_stalled_receivers(run: Run, make: Callable[[int], Any]) -> None:
    async def main() -> None:
        limiter = make(1)

        async def stalled() -> None:
            async with open_spool(Endless().rows(), limits=SMALL, limiter=limiter):
                await asyncio.sleep(3600)

        tasks = [asyncio.ensure_future(stalled()) for _ in range(50)]
        await asyncio.sleep(0)
        rows = [b"%04d" % number for number in range(1000)]
        assert await asyncio.wait_for(collect(iter(rows), limits=SMALL, limiter=limiter), 60) == b"".join(rows)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.wait_for(limiter.acquire(), 60)

    run(main)


@every_asyncio
@pytest.mark.parametrize("when", range(4))
def test_a_place_that_is_granted_while_giving_up_is_given_back(run: Run, when: int) -> None:
    started = []

    def rows() -> Iterator[bytes]:
        started.append(True)
        yield b"x"

    async def main() -> None:
        limiter = asyncio.Semaphore(1)
        await limiter.acquire()

        async def block() -> None:
            async with open_spool(rows(), limiter=limiter):
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(block())
        await asyncio.sleep(0.01)
        steps: list[Callable[[], object]] = [limiter.release, task.cancel]
        for step in steps if when % 2 else reversed(steps):
            step()
            if when >= 2:
                await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.wait_for(limiter.acquire(), 5)

    run(main)


@every_asyncio
def test_the_end_of_the_loop_stops_what_is_left(run: Run) -> None:
    """`asyncio.run` cancels the tasks that are left, and the helper among them: the producer's ``finally`` still runs before it ends."""
    endless, stuck = Endless(), Stuck()

    async def main() -> None:
        async def block(rows: Iterator[bytes]) -> None:
            async with open_spool(rows, limits=SMALL) as batches:
                await batches.receive()
                await asyncio.sleep(3600)

        tasks.append(asyncio.ensure_future(block(endless.rows())))
        tasks.append(asyncio.ensure_future(block(stuck.rows())))
        await until(stuck.entered.is_set)
        threading.Timer(0.1, stuck.release.set).start()

    tasks: list[Any] = []
    run(main)
    assert endless.closed
    assert stuck.closed


@pytest.mark.parametrize("paused", [False, True])
def test_a_loop_that_is_closed_without_its_tasks(paused: bool) -> None:
    """The producer stops in its worker, at its next fragment, though nobody tells it."""
    closed = threading.Event()
    closed_in = []

    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
                if not paused:
                    time.sleep(0.0001)
        finally:
            closed_in.append(threading.current_thread())
            closed.set()

    async def block() -> None:
        async with open_spool(rows(), limits=SMALL if paused else SpoolLimits()) as batches:
            async for _ in batches:
                if paused:
                    await asyncio.sleep(3600)

    loop = asyncio.new_event_loop()
    task = loop.create_task(block())
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, loop
    gc.collect()
    assert closed.wait(60)
    assert closed_in != [threading.main_thread()]


def test_a_loop_that_is_closed_while_a_function_waits_for_room() -> None:
    """It is released though the loop never runs what it asked for."""
    raised = threading.Event()

    def write(out: SpoolWriter) -> None:
        try:
            while True:
                out.write(b"x" * 100)
        except SpoolBrokenError:
            raised.set()
            raise

    async def block() -> None:
        async with open_spool(write, limits=SMALL):
            await asyncio.sleep(3600)

    loop = asyncio.new_event_loop()
    task = loop.create_task(block())
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    assert raised.wait(60)
    task._log_destroy_pending = False  # type: ignore[attr-defined]


@every_asyncio
def test_is_entered_once(run: Run) -> None:
    async def main() -> None:
        spool = open_spool([b"x"])
        assert spool.statistics().turns == 0
        async with spool:
            pass
        with pytest.raises(RuntimeError, match="once"):
            async with spool:
                pass

    run(main)


@every_asyncio
def test_items_stop_and_limiters_are_as_on_trio(run: Run) -> None:
    released = threading.Event()

    def silent() -> Iterator[int]:
        yield 1
        released.wait(60)
        yield 2

    async def main() -> None:
        async with open_spool(silent(), size=None, stop=released.set) as batches:
            assert await batches.receive() == [1]
        assert released.is_set()
        with pytest.raises(TypeError, match="limiter on asyncio"):
            async with open_spool([b"x"], limiter=trio.CapacityLimiter(1)):  # type: ignore[call-overload]
                pass

    run(main)


@every_asyncio
def test_a_limiter_that_grants_a_place_though_it_is_cancelled(run: Run) -> None:
    class Stubborn:
        granted = released = 0

        async def acquire(self) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.granted += 1

        def release(self) -> None:
            self.released += 1

    async def main() -> None:
        limiter = Stubborn()
        async with open_spool([b"x"], limiter=limiter):
            await asyncio.sleep(0.01)
        assert (limiter.granted, limiter.released) == (1, 1)

    run(main)


@every_asyncio
def test_cancelled_in_each_pass_of_the_loop(run: Run) -> None:
    """As anyio does with a task that goes on waiting: it must see that its producer has ended all the same."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def block() -> None:
            async with open_spool(Endless().rows(), limits=SMALL) as batches:
                await batches.receive()
                await asyncio.sleep(3600)

        def cancel() -> None:
            if not task.done():
                task.cancel()
                loop.call_soon(cancel)

        task = asyncio.ensure_future(block())
        await asyncio.sleep(0.02)
        cancel()
        await asyncio.wait([task], timeout=60)
        assert task.cancelled()

    run(main)


@every_asyncio
def test_anyio_does_not_spin_while_a_producer_is_stuck(run: Run) -> None:
    stuck = Stuck()
    calls = 0

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            return call_soon(*arguments, **options)

        with anyio.CancelScope() as scope:
            async with open_spool(stuck.rows()) as batches:
                await batches.receive()
                await until(stuck.entered.is_set)
                threading.Timer(0.2, stuck.release.set).start()
                loop.call_soon = counted  # type: ignore[method-assign]
                scope.cancel()
                await anyio.sleep_forever()

    run(main)
    assert calls < 100
