"""Who counts as wanting the event loop beside the streams."""

from __future__ import annotations

from time import perf_counter, sleep, thread_time

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_spool import SpoolLimits, open_sender, open_spool
from trio_spool._core._manners import LONG, QUIET, SHARE, SHORT
from trio_spool._core.trio._loop import trio_loop
from trio_spool._core.trio._manners import TrioManners


def slices_of(seen: list[float], count: int):
    """Emit fragments; note before each how long the worker may keep the interpreter."""
    ours = trio_loop().manners

    def generate():
        for _ in range(count):
            seen.append(ours.time_slice(0))
            yield b"x" * 100

    return generate()


def test_a_stream_alone_is_never_hurried() -> None:
    """The first steps of its own tasks, and of Trio's that carries what threads ask for, are nobody else's."""
    seen: list[float] = []

    async def main() -> None:
        await wait_all_tasks_blocked()  # Trio's own tasks have begun
        async with open_spool(slices_of(seen, 20_000)) as batches:
            async for _ in batches:
                pass

    trio.run(main)
    assert set(seen) == {LONG}


def test_a_task_that_does_not_stream_is_given_way_to() -> None:
    seen: list[float] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def other() -> None:
                while True:
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(other)
            async with open_spool(slices_of(seen, 10_000_000)) as batches:
                async for _ in batches:
                    if SHORT in seen[-1000:]:
                        break  # on a busy machine, this takes a while
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert SHORT in seen


def test_a_sender_alone_is_not_hurried() -> None:
    class Discard(trio.abc.SendStream):
        async def send_all(self, data) -> None:
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    seen: list[float] = []

    async def main() -> None:
        async with open_sender(Discard()) as sender:
            await wait_all_tasks_blocked()
            await sender.send_spool(slices_of(seen, 20_000))

    trio.run(main)
    assert set(seen) == {LONG}


@pytest.mark.parametrize(
    ("quiet", "others", "workers", "expected"),
    [
        (0, 0, 1, SHORT),
        (0, SHORT, 1, SHORT),
        (0, 0.01, 0, SHARE * 0.01),
        (0, 0.01, 1, SHARE * 0.01),
        (0, 0.01, 2, SHARE * 0.005),
        (0, 0.01, 1000, SHORT),
        (0, 10, 1, LONG),
        (0.01, 0, 0, QUIET * 0.01),
        (0.01, 0, 2, QUIET * 0.005),
        (0.001, 0.01, 1, SHARE * 0.01),
        (1, 0, 1, LONG),
    ],
)
async def test_a_worker_has_a_share_of_what_others_leave(quiet: float, others: float, workers: int, expected: float) -> None:
    now = 1000.0
    ours = TrioManners(clock=lambda: now)
    ours.busy.update(range(workers))
    assert ours.time_slice(others) == LONG  # nobody else has ever run
    ours.after_task_step(object())  # type: ignore[arg-type]
    now += quiet
    assert ours.time_slice(others) == pytest.approx(expected)


@pytest.mark.parametrize("sends", [False, True])
def test_whoever_passes_a_stream_on_is_nobody_else(sends: bool) -> None:
    """A child task that receives, and the sender that it sends with."""
    last_run: set[float] = set()

    def generate(ours: TrioManners):
        for _ in range(20_000):
            last_run.add(ours.last)
            yield b"x" * 100

    async def main() -> None:
        left, right = memory_stream_pair()
        async with open_sender(left) as sender:
            await wait_all_tasks_blocked()
            async with open_spool(generate(trio_loop().manners)) as batches, trio.open_nursery() as nursery:

                async def receive() -> None:
                    async for batch in batches:
                        if sends:
                            await sender.send(batch)

                nursery.start_soon(receive)
        await right.aclose()

    trio.run(main)
    assert last_run == {0.0}


async def test_a_stream_goes_on_beside_a_busy_loop() -> None:
    """It takes a share of each pass: 50 ms of work are done in some 80 passes of 2 ms. With the least slice in each, they took more than 600."""
    work = 0.05
    passes = 0

    def generate():
        ended = thread_time() + work
        while thread_time() < ended:
            yield b"x"

    async with trio.open_nursery() as nursery:

        async def busy() -> None:
            nonlocal passes
            while True:
                passes += 1
                ended = perf_counter() + 0.002
                while perf_counter() < ended:
                    pass
                sleep(0.0001)  # a system call: the interpreter is free meanwhile
                await trio.lowlevel.checkpoint()

        async with open_spool(generate()) as batches:
            nursery.start_soon(busy)
            async for _ in batches:
                pass
        nursery.cancel_scope.cancel()
    assert passes < 300


async def test_only_workers_at_work_are_counted() -> None:
    ours = trio_loop().manners
    seen = []

    def generate():
        seen.append(len(ours.busy))
        yield b"x"
        seen.append(len(ours.busy))

    def fail():
        yield b"x"
        raise ValueError

    def write(out) -> None:
        seen.append(len(ours.busy))
        out.write(b"x" * 10)
        seen.append(len(ours.busy))
        out.write(b"x" * 10)
        seen.append(len(ours.busy))

    async with open_spool(generate()) as batches:
        async for _ in batches:
            pass
    with pytest.raises(ValueError):
        async with open_spool(fail()) as batches:
            async for _ in batches:
                pass
    assert (seen, ours.busy) == ([1, 1], set())
    async with open_spool(write, limits=SpoolLimits(window=5)) as batches:
        while not seen[2:]:
            await trio.sleep(0)
        while ours.busy:  # until it waits for room
            await trio.sleep(0)
        assert [batch async for batch in batches]
    assert (seen[2:], ours.busy) == ([1, 1, 1], set())
