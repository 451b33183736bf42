"""Runs: how far one goes, what it counts, and how it is ended."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool import SpoolLimits, open_spool
from trio_spool._core.handover._runs import LONGEST, Runs


def run_all(runs: Runs, fragments, room: int) -> list[list[bytes]]:
    """Run to the end, with so much room each time, and return what each run wrote."""
    made: list[bytes] = []

    def generate():
        for fragment in fragments:
            made.append(fragment)
            yield fragment

    iterator = generate()
    written = []
    more = True
    while more:
        before = len(made)
        buffer = io.BytesIO()
        runs.prepare(room)
        more = runs.write(iterator, buffer)
        assert buffer.getvalue() == b"".join(made[before:])
        assert runs.fragments == len(made)
        written.append(made[before:])
    return written


@given(st.lists(st.integers(0, 5000).map(bytes), max_size=200), st.integers(0, 20_000))
def test_any_fragments_any_room(fragments: list[bytes], room: int) -> None:
    written = run_all(Runs(), fragments, room)
    assert [fragment for run in written for fragment in run] == fragments
    for run in written:
        assert len(run) <= 1 or sum(map(len, run[:-1])) < room


def test_a_run_that_fills_the_room_exactly_ends_there() -> None:
    written = run_all(Runs(), [bytes(512)] * 12, 4 * 512)  # as large as the entries of the first credit
    assert [len(run) for run in written[:3]] == [4, 4, 4]


def test_small_fragments_make_long_runs_and_large_ones_too() -> None:
    for size in (0, 10, 100, 1000, 10_000):
        written = run_all(Runs(), [bytes(size)] * 20_000, 1 << 20)
        assert max(map(len, written)) >= min(LONGEST, (1 << 20) // max(size, 1) // 2)


def test_a_larger_fragment_ends_the_run() -> None:
    fragments = [b"x" * 100] * 10 + [b"y" * 5000] + [b"x" * 100] * 10
    runs = Runs()
    buffer = io.BytesIO()
    iterator = iter(fragments)
    runs.prepare(1 << 16)
    assert runs.write(iterator, buffer)
    assert runs.fragments == 11
    assert next(iterator) == b"x" * 100


@pytest.mark.parametrize("at", [0, 1, 7])
def test_revoked_it_ends_behind_the_next_fragment(at: int) -> None:
    runs = Runs()

    def generate():
        for number in range(100):
            if number == at:
                runs.revoke()
            yield b"%d," % number

    iterator = generate()
    buffer = io.BytesIO()
    runs.prepare(1 << 16)
    assert runs.write(iterator, buffer)
    assert runs.fragments == at + 1
    runs.prepare(1 << 16)  # and the next one is not revoked
    assert not runs.write(iterator, buffer)
    assert buffer.getvalue() == b"".join(b"%d," % number for number in range(100))


@pytest.mark.parametrize("error", [ValueError("of the producer"), TypeError("of the producer"), BufferError("of the producer")])
@pytest.mark.parametrize("at", [0, 3])
def test_what_the_producer_raises_is_left_as_it_is(error: Exception, at: int) -> None:
    def generate():
        for _ in range(at):
            yield b"x"
        raise error

    runs = Runs()
    buffer = io.BytesIO()
    runs.prepare(1 << 16)
    with pytest.raises(type(error)) as info:
        runs.write(generate(), buffer)
    assert info.value is error
    assert info.traceback[-1].name == "generate"
    assert (buffer.getvalue(), runs.fragments) == (b"x" * at, at)


@pytest.mark.parametrize("bad", ["text", 5, None, [1, 2], memoryview(b"abcdef")[::2]])
async def test_says_which_fragment_is_not_bytes(bad: object) -> None:
    """Among those that are written without a run, and among those in one."""
    for before in (0, 3, 3000):
        received = []
        with pytest.raises(TypeError, match=rf"^fragment {before + 1} of a producer: "):
            async with open_spool([b"ok"] * before + [bad]) as batches:
                async for batch in batches:
                    received.append(batch)
        assert b"".join(received) == b"ok" * before


async def test_a_buffer_that_one_fragment_filled_is_not_kept() -> None:
    limits = SpoolLimits(window=1000, batch=300)
    spool = open_spool([*[b"x" * 10] * 50, b"x" * 100_000, *[b"x" * 10] * 50], limits=limits)
    async with spool as batches:
        sizes = [len(batch) async for batch in batches]
        assert len(spool._handoff._buffer.collected.getvalue()) < 1000
    assert sum(sizes) == 101_000
