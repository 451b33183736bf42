"""Leaving a spool stops its producer, wherever it is."""

from __future__ import annotations

import threading
import time

import pytest
import trio

from support.spools import collect
from trio_spool import SpoolBrokenError, SpoolLimits, SpoolWriter, open_spool

SMALL = SpoolLimits(window=1000, batch=300)


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
