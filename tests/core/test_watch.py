"""What takes too long is seen: in the statistics, and in one line of the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_spool import SpoolLimits, SpoolWriter, open_sender, open_spool
from trio_spool._core._loop import PLACES
from trio_spool._core._watch import LATE, Watch
from trio_spool._core.trio._loop import trio_loop

# So short that everything is late; but what must not be seen as late has ended before it began.
SOON = 0.001


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="trio_spool")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "trio_spool"]


class Blocking:
    """A producer that blocks until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def rows(self) -> Iterator[bytes]:
        self.begun.set()
        self.where_it_blocks()
        yield b"x"

    def where_it_blocks(self) -> None:
        self.go_on.wait()


@pytest.mark.parametrize("name", [None, "the report"])
async def test_a_producer_that_does_not_end(name: str | None, warnings, until) -> None:
    trio_loop().watch = Watch(SOON)
    blocking = Blocking()
    spool = open_spool(blocking.rows(), name=name)

    async def leave() -> None:
        async with spool:
            await trio.to_thread.run_sync(blocking.begun.wait)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await until(lambda: spool.statistics().overdue and warnings())
        blocking.go_on.set()
    assert spool.statistics().overdue == 0
    [warning] = warnings()
    assert warning.startswith(f"producer {name or 'Blocking.rows'} was stopped 0.001 s ago, and has not ended:")
    assert "in where_it_blocks\n    self.go_on.wait()" in warning


async def test_a_producer_of_a_sender_that_does_not_end(warnings, until) -> None:
    """It is counted although the sender has finished with it."""
    trio_loop().watch = Watch(SOON)
    blocking = Blocking()
    left, _right = memory_stream_pair()
    async with open_sender(left) as sender, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_spool, blocking.rows())
        await trio.to_thread.run_sync(blocking.begun.wait)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await until(lambda: sender.statistics().spools.overdue == 1)
            assert sender.statistics().spools.workers == 1
            await until(warnings)
        blocking.go_on.set()
    assert sender.statistics().spools.overdue == sender.statistics().spools.workers == 0
    assert len(warnings()) == 1


async def test_a_stop_function_that_does_not_return(warnings, until) -> None:
    trio_loop().watch = Watch(SOON)
    blocking = Blocking()
    spool = open_spool([b"x"] * 100, limits=SpoolLimits(window=100, batch=10), stop=blocking.where_it_blocks)

    async def leave() -> None:
        async with spool:
            await until(lambda: spool.statistics().turns == 1 and not spool.statistics().workers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await until(warnings)
        blocking.go_on.set()
    [warning] = warnings()
    assert "producer list was stopped" in warning
    assert "in where_it_blocks\n    self.go_on.wait()" in warning


async def test_producers_that_wait_for_a_thread(warnings, until) -> None:
    """There may be thousands, so only the first one is logged, with a second line when none waits any more."""
    trio_loop().watch = Watch(SOON)
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()

    def write(out: SpoolWriter) -> None:
        out.write(b"x")

    spools = [open_spool(write, limiter=limiter, name=f"number {number}") for number in range(5)]

    async def receive(spool) -> None:
        async with spool as batches:
            assert [batch async for batch in batches] == [b"x"]

    async with trio.open_nursery() as nursery:
        for spool in spools:
            nursery.start_soon(receive, spool)
        await until(warnings)
        await until(lambda: len(trio_loop().watch._lasting) == len(spools))
        assert [spool.statistics().waiting for spool in spools] == [1] * 5
        assert len(warnings()) == 1
        limiter.release()
    assert [spool.statistics().waiting for spool in spools] == [0] * 5
    first, second = warnings()
    assert first.startswith("producer number ")
    assert "has waited 0.001 s for a thread" in first
    assert second == "no producer waits long for a thread any more"


async def test_silent_producers_that_hold_all_threads_are_seen(warnings, until) -> None:
    trio_loop().watch = Watch(SOON)
    silent = [Blocking() for _ in range(PLACES["iterables"])]

    async def stream(blocking: Blocking) -> None:
        async with open_spool(blocking.rows(), stop=blocking.go_on.set):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for blocking in silent:
            nursery.start_soon(stream, blocking)
        await until(lambda: all(blocking.begun.is_set() for blocking in silent))
        spool = open_spool([b"x"], name="the one too many")
        async with spool as batches:
            await until(warnings)
            assert spool.statistics().waiting == 1
            assert warnings()[0].startswith("producer the one too many has waited")
            silent[0].go_on.set()
            assert await batches.receive() == b"x"
        nursery.cancel_scope.cancel()


async def test_what_ends_in_time_is_not_seen(warnings) -> None:
    later = threading.Event()
    trio_loop().watch = watch = Watch(SOON, sleep=lambda _: later.wait())
    ended = threading.Event()

    def write(out: SpoolWriter) -> None:
        out.write(b"x")
        ended.wait()

    async with open_spool(write, stop=ended.set) as batches:
        await batches.receive()
    assert not watch._waits
    last = threading.Event()
    watch.begin(last.set)
    later.set()
    await trio.to_thread.run_sync(last.wait)
    assert warnings() == []


async def test_nothing_is_watched_while_all_goes_well() -> None:
    trio_loop().watch = watch = Watch()
    async with open_spool([b"x"]) as batches:
        assert [batch async for batch in batches] == [b"x"]
    assert not watch._looking


def test_a_watch_looks_again_when_it_has_stopped_looking(until) -> None:
    watch = Watch(SOON)
    for _ in range(3):
        late = threading.Event()
        watch.begin(late.set)
        assert late.wait(60)


async def test_what_has_ended_is_never_late() -> None:
    later = threading.Event()
    watch = Watch(SOON, sleep=lambda _: later.wait())
    order: list[int] = []
    waits = [watch.begin(lambda number=number: order.append(number)) for number in range(5)]
    watch.end(waits[0])
    watch.end(waits[3])
    watch.end(None)
    last = threading.Event()
    watch.begin(last.set)
    later.set()
    await trio.to_thread.run_sync(last.wait)
    assert order == [1, 2, 4]


def test_late_is_what_the_documentation_says() -> None:
    assert LATE == 5
    assert "5 seconds" in str(open_spool.__doc__)
