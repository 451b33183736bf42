"""Closing what is inside of iterators: in a worker thread, with its errors."""

from __future__ import annotations

import itertools
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from support.spools import collect
from trio_spool import SpoolLimits, open_sender, open_spool
from trio_spool._core.handover._buffer import LOCKED
from trio_spool._core.producers._closing import close_whole

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)
# Without the interpreter's lock, Python frees an object in the thread that made it, wherever the last reference goes. What is closed
# is closed in a worker all the same.
only_with_a_lock = pytest.mark.skipif(not LOCKED, reason="this Python has no lock, and frees objects where they were made")


class Rows:
    """Makes generators of endless rows, and notes the threads in which they are closed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.closed_in: list[threading.Thread] = []
        self._error = error

    def __call__(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            self.closed_in.append(threading.current_thread())
            if self._error is not None:
                raise self._error


def genexpr(rows: Rows) -> Iterator[bytes]:
    return (row for row in rows())


def looping(rows: Rows) -> Iterator[bytes]:
    for row in rows():  # noqa: UP028 (`yield from` would close it)
        yield row


def with_a_name(rows: Rows) -> Iterator[bytes]:
    ours = rows()
    for row in ours:  # noqa: UP028
        yield row


def firsts(pairs: Iterator[Any]) -> Iterator[bytes]:
    return map(operator.itemgetter(0), pairs)


SHAPES: dict[str, Callable[[Rows], Iterator[bytes]]] = {
    "map": lambda rows: map(bytes.upper, rows()),
    "map of map": lambda rows: map(bytes.upper, map(bytes.lower, rows())),
    "filter": lambda rows: filter(None, rows()),
    "zip": lambda rows: firsts(zip(rows(), itertools.count())),
    "zip of one twice": lambda rows: firsts(zip(*[rows()] * 2)),
    "enumerate": lambda rows: map(operator.itemgetter(1), enumerate(rows())),
    "chain": lambda rows: itertools.chain([b"header"] * 20, rows()),
    "chain of one": lambda rows: itertools.chain(rows()),
    "chain.from_iterable": lambda rows: itertools.chain.from_iterable([[b"header"], rows()]),
    "chain of a map": lambda rows: itertools.chain([b"header"], map(bytes.upper, rows())),
    "islice": lambda rows: itertools.islice(rows(), 1_000_000_000),
    "takewhile": lambda rows: itertools.takewhile(bool, rows()),
    "dropwhile": lambda rows: itertools.dropwhile(operator.not_, rows()),
    "filterfalse": lambda rows: itertools.filterfalse(operator.not_, rows()),
    "compress": lambda rows: itertools.compress(rows(), itertools.repeat(1)),
    "cycle": lambda rows: itertools.cycle(rows()),
    "zip_longest": lambda rows: firsts(itertools.zip_longest(rows(), itertools.count())),
    "pairwise": lambda rows: firsts(itertools.pairwise(rows())),
    "starmap": lambda rows: map(operator.concat, rows(), rows()),
    "accumulate": lambda rows: itertools.accumulate(rows(), lambda one, other: other),
    "generator expression": genexpr,
    "generator expression of a map": lambda rows: (row for row in map(bytes.upper, rows())),
    "generator": looping,
    "generator with a name": with_a_name,
    "map of a generator": lambda rows: map(bytes.upper, looping(rows)),
}
if sys.version_info >= (3, 12):
    SHAPES["batched"] = lambda rows: map(b"".join, itertools.batched(rows(), 2))
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def in_workers(rows: Rows) -> bool:
    return bool(rows.closed_in) and threading.main_thread() not in rows.closed_in


@shapes
async def test_left_early_the_inner_generator_is_closed_in_a_worker(shape) -> None:
    rows = Rows()
    async with open_spool(shape(rows), limits=SMALL) as batches:
        received = 0
        while received < 500:
            received += len(await batches.receive())
    assert in_workers(rows)


@shapes
async def test_its_error_is_one_of_closing(shape) -> None:
    rows = Rows(ValueError("while closing"))
    with pytest.raises((ValueError, BaseExceptionGroup)) as info:
        async with open_spool(shape(rows), limits=SMALL) as batches:
            received = 0
            while received < 500:
                received += len(await batches.receive())
    errors = info.value.exceptions if isinstance(info.value, BaseExceptionGroup) else [info.value]
    assert {str(error) for error in errors} == {"while closing"}
    assert len(errors) == len(rows.closed_in)


@shapes
async def test_held_by_the_caller_it_is_closed_all_the_same(shape) -> None:
    rows = Rows()
    producer = shape(rows)
    async with open_spool(producer, limits=SMALL) as batches:
        received = 0
        while received < 500:
            received += len(await batches.receive())
    assert in_workers(rows)
    del producer


async def test_by_a_sender_whose_peer_is_gone() -> None:
    left, right = memory_stream_pair()
    await right.aclose()
    rows = Rows(ValueError("while closing"))
    async with open_sender(left) as sender:
        with pytest.raises(ValueError, match="while closing"):
            await sender.send_spool(map(bytes.upper, rows()))
    assert in_workers(rows)


@pytest.mark.parametrize("started", [False, True])
async def test_a_producer_that_never_had_a_turn(started: bool) -> None:
    rows = Rows()
    ours = rows()
    if started:
        next(ours)
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()
    producer = map(bytes.upper, ours)
    del ours
    spool = open_spool(producer, limiter=limiter)
    del producer
    async with spool:
        await wait_all_tasks_blocked()
    assert in_workers(rows) if started else not rows.closed_in


async def test_a_paused_producer_is_closed_though_the_limiter_is_exhausted() -> None:
    limiter = trio.CapacityLimiter(1)
    rows = Rows()
    async with open_spool(map(bytes.upper, rows()), limits=SMALL, limiter=limiter) as batches:
        await batches.receive()
        with trio.fail_after(60):
            await limiter.acquire()
    assert in_workers(rows)
    limiter.release()


@pytest.mark.parametrize("expression", [False, True])
async def test_a_function_between_that_fails(expression: bool) -> None:
    """What it was given is closed in a worker, although the exception is kept."""
    rows = Rows()

    def fail(row: bytes) -> bytes:
        raise KeyError(row)

    producer = (fail(row) for row in rows()) if expression else map(fail, rows())
    spool = open_spool(producer)
    del producer
    with pytest.raises(KeyError) as info:
        async with spool as batches:
            await batches.receive()
    assert in_workers(rows)
    assert info.traceback[-1].name == "fail"


@only_with_a_lock
async def test_an_iterator_without_close_is_dropped_in_a_worker() -> None:
    """Whatever keeps it in this library lets it go there, also the traceback of its failure."""
    rows = Rows()

    class Failing:
        def __init__(self) -> None:
            self._rows = rows()

        def __iter__(self) -> Failing:
            return self

        def __next__(self) -> bytes:
            if next(self._rows):
                return b"x"
            raise AssertionError

    async with open_spool(Failing(), limits=SMALL) as batches:
        await batches.receive()
    assert in_workers(rows)


class Dropped:
    """An iterator that notes where it is dropped."""

    def __init__(self, where: list[threading.Thread]) -> None:
        self._where = where

    def __iter__(self) -> Dropped:
        return self

    def __next__(self) -> bytes:
        return b"x" * 100

    def __del__(self) -> None:
        self._where.append(threading.current_thread())


@only_with_a_lock
@pytest.mark.parametrize("ending", ["leaves", "fails", "never begins"])
async def test_the_last_reference_goes_in_a_worker(ending: str) -> None:
    where: list[threading.Thread] = []

    def fail(row: bytes) -> bytes:
        raise KeyError

    limiter = trio.CapacityLimiter(1)
    if ending == "never begins":
        await limiter.acquire()
    spool = open_spool(map(fail, Dropped(where)) if ending == "fails" else Dropped(where), limits=SMALL, limiter=limiter)
    error = None
    try:
        async with spool as batches:
            if ending == "never begins":
                await wait_all_tasks_blocked()
            else:
                await batches.receive()
    except KeyError as exc:
        error = exc
    assert len(where) == 1
    assert where[0] is not threading.main_thread()
    assert (error is not None) == (ending == "fails")


async def test_what_the_caller_goes_on_with_is_left_alone() -> None:
    numbers = (b"%d " % number for number in range(9))
    assert await collect(itertools.islice(numbers, 3)) == b"0 1 2 "
    assert await collect(itertools.takewhile(lambda number: number < b"5", numbers)) == b"3 4 "
    assert await collect(numbers) == b"6 7 8 "


def test_what_is_in_a_tuple_of_the_caller_is_left_alone() -> None:
    rows = Rows()
    parts = (rows(), rows())
    chained = itertools.chain(*parts)
    next(chained)
    close_whole(chained)
    assert not rows.closed_in
    del parts
    close_whole(chained)
    assert len(rows.closed_in) == 1


def test_what_two_wrappers_share_is_closed() -> None:
    rows = Rows()
    ours = rows()
    pairs = zip(map(bytes.upper, ours), map(bytes.lower, ours))
    del ours
    next(pairs)
    close_whole(pairs)
    assert len(rows.closed_in) == 1


def test_the_other_half_of_a_tee_goes_on() -> None:
    rows = Rows()
    one, other = itertools.tee(rows())
    next(one)
    close_whole(one)
    del one
    assert not rows.closed_in
    assert next(other) == next(other)


def test_a_file_inside_is_closed(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\n")
    closed = []

    class File:
        def __iter__(self) -> File:
            return self

        def __next__(self) -> bytes:
            return b"line"

        def close(self) -> None:
            closed.append(True)

    lines = itertools.chain([b"header"], File())
    next(lines)
    close_whole(lines)
    assert closed == [True]


def test_a_function_is_not_closed() -> None:
    """It belongs to the caller, although only the wrapper refers to it."""
    closed = []

    class Lookup:
        def __call__(self, key: bytes) -> bytes:
            return key

        def close(self) -> None:
            closed.append(True)

    close_whole(map(Lookup(), [b"x"]))
    close_whole(iter(Lookup(), b"x"))  # type: ignore[arg-type]
    assert not closed


def test_an_error_keeps_nothing_in_a_cycle() -> None:
    import gc
    import weakref

    class Kept:
        pass

    def rows(kept: Kept) -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            raise ValueError

    kept = Kept()
    seen = weakref.ref(kept)
    inner = zip(rows(kept), rows(kept))
    del kept
    next(inner)
    gc.disable()
    try:
        with pytest.raises(BaseExceptionGroup) as info:
            close_whole(inner)
        del inner, info
        assert seen() is None
    finally:
        gc.enable()
