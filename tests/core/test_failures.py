"""Producers that fail: their errors arrive in order, unwrapped, and are not lost."""

from __future__ import annotations

import sys
import threading

import pytest
import trio

from support.spools import collect
from trio_spool import SpoolLimits, SpoolWriter, open_spool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)


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
