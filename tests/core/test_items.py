"""Spools of items: batches are lists, bounded by the sum of the sizes."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_spool import SpoolLimits, open_spool

SMALL = SpoolLimits(window=10, batch=3)


class Row:
    def __init__(self, number: int) -> None:
        self.number = number


async def test_items_arrive_as_they_are() -> None:
    rows = [Row(number) for number in range(5000)]
    received: list[Row] = []
    async with open_spool(iter(rows), size=None) as batches:
        async for batch in batches:
            assert type(batch) is list
            received += batch
    assert all(one is other for one, other in zip(received, rows, strict=True))


@given(st.lists(st.integers(0, 20), max_size=100), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_any_sizes_any_limits(sizes: list[int], window: int, batch: int, writes: bool) -> None:
    emitted, taken, most = 0, 0, 0

    def measure(item: int) -> int:
        return item

    def generate():
        nonlocal emitted, most
        for size in sizes:
            most = max(most, emitted - taken)
            emitted += max(1, size)
            yield size

    def write(out) -> None:
        for size in generate():
            out.put(size)

    async def main() -> list[list[int]]:
        nonlocal taken
        received = []
        async with open_spool(
            write if writes else generate(), size=measure, limits=SpoolLimits(window=window, batch=batch)
        ) as batches:
            async for items in batches:
                taken += sum(max(1, item) for item in items)
                received.append(items)
        return received

    received = trio.run(main)
    assert [item for items in received for item in items] == sizes
    for items in received:
        assert items
        assert sum(max(1, item) for item in items[:-1]) < batch
    assert most <= window + 20


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("size", [None, lambda item: 0])
async def test_a_stalled_receiver_stops_the_producer(writes: bool, size, until) -> None:
    """Also if the items weigh nothing."""
    count = 0

    def generate():
        nonlocal count
        while True:
            count += 1
            yield None

    def write(out) -> None:
        for item in generate():
            out.put(item)

    spool = open_spool(write if writes else generate(), size=size, limits=SMALL)
    async with spool as batches:
        await until(lambda: spool.statistics().high_water >= 10)
        assert 10 <= count <= 11
        assert sum(map(len, [await batches.receive() for _ in range(3)])) <= 12


async def test_the_usual_limits_of_items(until) -> None:
    def generate():
        while True:
            yield None

    spool = open_spool(generate(), size=None)
    async with spool as batches:
        await until(lambda: spool.statistics().high_water == 4096)
        assert len(await batches.receive()) == 1024


async def test_a_failure_comes_after_all_items() -> None:
    def generate():
        yield from range(100)
        raise ValueError

    received: list[int] = []
    with pytest.raises(ValueError):
        async with open_spool(generate(), size=None, limits=SMALL) as batches:
            async for batch in batches:
                received += batch
    assert received == list(range(100))


@pytest.mark.parametrize("size", [-1, 1.5, "1", None, True])
async def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(ValueError, match=r"^the size of item 1 must be an int that is not negative; got "):
        async with open_spool(["row"], size=lambda item: size) as batches:  # type: ignore[return-value,arg-type]
            await batches.receive()


async def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="size must be a function"):
        open_spool([1], size=5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="Put it in a list"):
        open_spool("text", size=len)
    with pytest.raises(TypeError, match="ItemWriter"):
        open_spool(5, size=None)  # type: ignore[call-overload]

    async def rows():
        yield 1

    with pytest.raises(TypeError, match="async"):
        open_spool(rows(), size=None)  # type: ignore[call-overload]


async def test_putting_after_the_end() -> None:
    kept = []

    def write(out) -> None:
        kept.append(out)
        out.put(1)

    async with open_spool(write, size=None) as batches:
        assert [batch async for batch in batches] == [[1]]
    with pytest.raises(ValueError, match="returned"):
        kept[0].put(2)


async def test_items_are_let_go() -> None:
    """Nothing that was received, or dropped, is kept by the spool."""
    alive = weakref.WeakSet[Row]()
    filled = threading.Event()

    def generate():
        for number in range(100):
            row = Row(number)
            alive.add(row)
            yield row
            del row
            if number == 8:
                filled.set()

    spool = open_spool(generate(), size=None, limits=SMALL)
    async with spool as batches:
        await trio.to_thread.run_sync(filled.wait)
        await batches.receive()
    gc.collect()
    assert not alive
