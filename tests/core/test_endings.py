"""How spools end: whatever comes at the same time as the end, and whoever notices it first."""

from __future__ import annotations

import contextvars
import decimal
import sys
import threading

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolBrokenError, SpoolLimits, SpoolWriter, open_sender, open_spool
from trio_spool._core._loop import PLACES
from trio_spool._core._raising import is_cancellation
from trio_spool._core.handover._gone import PATIENT
from trio_spool._core.trio._loop import trio_loop

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)
# Trio shuffles the tasks of a pass: so often, every order of a few of them has come up.
TRIES = 40


class Boom(Exception):
    pass


class Held(trio.abc.SendStream):
    """A stream that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.error: Exception | None = None
        self.sent = b""

    async def send_all(self, data) -> None:
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


# A failure and the end


@pytest.mark.parametrize("count", [0, 5, 500])
async def test_a_failure_is_not_taken_for_the_end(count: int) -> None:
    """What stands behind the loop, with no checkpoint in between, is not reached."""

    def generate():
        yield from [b"x" * 10] * count
        raise Boom

    for _ in range(TRIES):
        reached = False
        with pytest.raises(Boom):
            async with open_spool(generate()) as batches:
                async for _batch in batches:
                    pass
                reached = True
        assert not reached


@pytest.mark.parametrize("fails", [False, True])
async def test_a_shielded_receiver_gets_everything(fails: bool) -> None:
    def generate():
        yield from [b"x" * 10] * 1000
        if fails:
            raise Boom

    received = b""
    with trio.CancelScope() as scope:
        try:
            async with open_spool(generate(), limits=SMALL) as batches:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    async for batch in batches:
                        received += batch
        except Boom:
            assert fails
    assert received == b"x" * 10_000


# Leaving


@pytest.mark.parametrize("endless", [False, True])
async def test_leaving_does_not_wait_for_a_clone(endless: bool, until) -> None:
    def generate():
        yield b"x" * 100
        while endless:
            yield b"x" * 100

    with trio.fail_after(60):
        spool = open_spool(generate(), limits=SMALL)
        async with spool as batches:
            await batches.receive()
            clone = batches.clone()
            await until(lambda: endless or not spool.statistics().workers)
            await wait_all_tasks_blocked()
        with clone, pytest.raises(SpoolBrokenError if endless else trio.EndOfChannel):
            await clone.receive()


async def test_a_function_that_ignores_the_error_emits_no_more() -> None:
    written, left = threading.Event(), threading.Event()
    failures = []

    def write(out: SpoolWriter) -> None:
        out.write(b"x")
        written.set()
        left.wait()
        for _ in range(1000):
            try:
                out.write(b"x" * 1000)
            except SpoolBrokenError as exc:
                failures.append(exc)

    spool = open_spool(write, limits=SMALL)
    async with spool as batches, trio.open_nursery() as nursery:
        await batches.receive()
        await trio.to_thread.run_sync(written.wait)

        async def leave() -> None:
            await wait_all_tasks_blocked()
            left.set()

        nursery.start_soon(leave)
        spool._handoff.close()
    assert len(failures) == PATIENT  # then it was ended
    assert spool.statistics().fragments == spool.statistics().high_water == 1


async def test_nothing_is_held_after_the_block(until, closable) -> None:
    producer = closable()
    spool = open_spool(producer, limits=SMALL)
    async with spool as batches:
        await batches.receive()
        await until(lambda: spool.statistics().high_water >= 1000)
    assert spool._turns is None
    assert not spool._handoff._buffer.holds_some()
    assert spool.statistics().high_water >= 1000


async def test_the_high_water_mark_is_that_of_all_that_is_taken() -> None:
    filled = threading.Event()
    go_on = threading.Event()

    def generate():
        for _ in range(7):
            yield b"x" * 50
        filled.set()
        go_on.wait()

    spool = open_spool(generate())
    async with spool as batches:
        await trio.to_thread.run_sync(filled.wait)
        sizes = [len(await batches.receive())]
        while sum(sizes) < 350:
            sizes.append(len(await batches.receive()))
        go_on.set()
    assert max(sizes) <= spool.statistics().high_water <= 350


# Closing


async def test_an_iterator_that_never_had_a_turn_is_closed(closable) -> None:
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()
    producer = closable()
    async with open_spool(producer, limiter=limiter):
        await wait_all_tasks_blocked()
    assert producer.closed


async def test_a_spool_that_is_cancelled_in_the_queue_is_closed(closable) -> None:
    stream = Held()
    queued, ahead = closable(), closable()
    async with open_sender(stream) as sender:
        with trio.move_on_after(0):
            await sender.send_spool(ahead)
        await sender.send(b"before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_spool, queued)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert queued.closed
        assert ahead.closed
        stream.go_on.set()
        await sender.send(b"after")
    assert stream.sent == b"beforeafter"


@pytest.mark.parametrize("whole", [False, True])
async def test_a_spool_that_is_cancelled_as_its_turn_comes_holds_up_nobody(whole: bool) -> None:
    for _ in range(TRIES):
        stream = Held()
        with trio.fail_after(60):
            async with open_sender(stream) as sender:
                await sender.send(b"before")
                async with trio.open_nursery() as nursery:

                    async def send(sender=sender) -> None:
                        await sender.send_spool([b"x"], whole=whole)

                    nursery.start_soon(send)
                    await wait_all_tasks_blocked()
                    stream.go_on.set()
                    await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                await sender.send(b"after")
        assert stream.sent in (b"beforeafter", b"beforexafter")


def failing_at_close():
    try:
        while True:
            yield b"x" * 100
    finally:
        raise ValueError("while closing")


async def test_an_error_of_closing_is_not_lost() -> None:
    with pytest.raises(ValueError, match="while closing"):
        async with open_spool(failing_at_close(), limits=SMALL) as batches:
            await batches.receive()
    with pytest.raises(ExceptionGroup) as info:
        async with open_spool(failing_at_close(), limits=SMALL) as batches:
            await batches.receive()
            raise Boom
    assert [type(error) for error in info.value.exceptions] == [Boom, ValueError]
    with pytest.raises(ValueError, match="while closing"), trio.CancelScope() as scope:
        async with open_spool(failing_at_close(), limits=SMALL) as batches:
            await batches.receive()
            scope.cancel()
            await trio.sleep_forever()


@pytest.mark.parametrize("broken", [False, True])
async def test_an_error_of_closing_is_not_lost_by_a_sender(broken: bool) -> None:
    stream = Held()
    async with open_sender(stream) as sender, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def end() -> None:
            await wait_all_tasks_blocked()
            if broken:
                stream.error = trio.BrokenResourceError("gone")
                stream.go_on.set()
            else:
                scope.cancel()

        nursery.start_soon(end)
        with pytest.raises(ValueError, match="while closing"), scope:
            await sender.send_spool(failing_at_close(), limits=SMALL)
        stream.go_on.set()


@pytest.mark.parametrize("whole", [False, True])
async def test_a_cancellation_inside_a_producer_is_its_own(whole: bool) -> None:
    """It ran something in the event loop when its reader left."""
    stream = Held()
    stream.error = trio.BrokenResourceError("gone")
    running = threading.Event()

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            running.set()
            await trio.sleep_forever()

    def generate():
        yield b"x"
        trio.from_thread.run(work)
        yield b"y"

    async with open_sender(stream) as sender, trio.open_nursery() as nursery:

        async def go_on() -> None:
            await trio.to_thread.run_sync(running.wait)
            stream.go_on.set()

        nursery.start_soon(go_on)
        with pytest.raises(trio.BrokenResourceError, match="gone"):
            await sender.send_spool(generate(), whole=whole)


async def test_closing_many_takes_few_threads(until) -> None:
    count = 5 * PLACES["closing"]
    closing: set[int] = set()
    most = 0
    go_on = threading.Event()

    def generate(number: int):
        nonlocal most
        try:
            while True:
                yield b"x" * 100
        finally:
            closing.add(number)
            most = max(most, len(closing))
            go_on.wait()
            closing.discard(number)

    spools = []

    async def stall(number: int) -> None:
        spool = open_spool(generate(number), limits=SMALL)
        spools.append(spool)
        async with spool:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(stall, number)
        await until(lambda: len(spools) == count and all(spool.statistics().high_water >= 1000 for spool in spools))
        await until(lambda: not any(spool.statistics().workers for spool in spools))
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await until(lambda: len(closing) == PLACES["closing"])
            go_on.set()
    assert most == PLACES["closing"]
    assert trio_loop().limiters["closing"].borrowed_tokens == 0


# Turns


async def test_a_generator_keeps_its_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def generate():
        variable.set("set")
        with decimal.localcontext() as context:
            context.prec = 50
            while True:
                yield f"{decimal.Decimal(1) / 3} {variable.get()}\n".encode()

    received = b""
    spool = open_spool(generate(), limits=SpoolLimits(window=100, batch=100))
    async with spool as batches:
        while spool.statistics().turns < 4:
            received += await batches.receive()
            with trio.fail_after(60):
                while spool.statistics().workers:
                    await trio.sleep(0.001)
    assert set(received.splitlines()) == {b"0." + b"3" * 50 + b" set"}


async def test_functions_that_wait_do_not_keep_iterables_from_running(until) -> None:
    def write(out: SpoolWriter) -> None:
        while True:
            out.write(b"x" * 100)

    stalled = []

    async def stall() -> None:
        spool = open_spool(write, limits=SMALL)
        async with spool:
            stalled.append(spool)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(70):  # more than may run at one time
            nursery.start_soon(stall)
        await until(lambda: trio_loop().limiters["functions"].available_tokens == 0)
        async with open_spool([b"ok"]) as batches:
            assert [batch async for batch in batches] == [b"ok"]
        nursery.cancel_scope.cancel()


# What is no fragment


@pytest.mark.parametrize("error", [TypeError, BufferError])
async def test_errors_of_iterators_in_c_are_as_they_were(error: type[Exception]) -> None:
    buffer = bytearray(b"abc")
    view = memoryview(buffer)
    rows = map(b",".join, [[b"a"], [b"b", "c"]]) if error is TypeError else map(bytes, map(buffer.extend, [b"x"]))
    with pytest.raises(error, match=r"^(sequence item 1|Existing exports)"):
        async with open_spool(rows) as batches:
            async for _ in batches:
                pass
    view.release()


async def test_what_a_sender_takes() -> None:
    left, right = memory_stream_pair()
    changing = bytearray(b"1")
    async with open_sender(left) as sender:
        await sender.send(changing)
        changing[:] = b"2"
        sender.send_nowait(memoryview(b"3"))
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                await sender.send(wrong)
            with pytest.raises(TypeError):
                sender.send_nowait(wrong)
    assert await right.receive_some(10) == b"13"


async def test_groups_of_cancellations_alone_are_cancellations() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            assert is_cancellation(BaseExceptionGroup("", [exc, BaseExceptionGroup("", [exc])]), trio.Cancelled)
            assert not is_cancellation(BaseExceptionGroup("", [exc, ValueError()]), trio.Cancelled)
            raise
