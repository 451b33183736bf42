"""The stop function of a producer: called once nobody will read any more."""

from __future__ import annotations

import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from support.spools import collect
from trio_spool import SpoolLimits, SpoolWriter, open_sender, open_spool
from trio_spool._core._loop import PLACES
from trio_spool._core.trio._loop import trio_loop

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

SMALL = SpoolLimits(window=1000, batch=300)


class Silent:
    """A producer that blocks until it is stopped, and notes what happens to it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.stopped_in: list[threading.Thread] = []
        self.events: list[str] = []
        self.blocked = threading.Event()
        self._error = error
        self._go_on = threading.Event()

    def rows(self) -> Iterator[bytes]:
        try:
            yield b"first"
            self._block()
            yield b"second"
        finally:
            self.events.append("ended")

    def write(self, out: SpoolWriter) -> None:
        out.write(b"first")
        self._block()
        self.events.append("ended")

    def _block(self) -> None:
        self.blocked.set()
        self._go_on.wait()

    def stop(self) -> None:
        self.stopped_in.append(threading.current_thread())
        self.events.append("stopped")
        self._go_on.set()
        if self._error is not None:
            raise self._error


def producer_of(silent: Silent, kind: str):
    return silent.rows() if kind == "iterable" else silent.write


kinds = pytest.mark.parametrize("kind", ["iterable", "function"])


@kinds
async def test_it_ends_a_producer_that_blocks(kind: str) -> None:
    silent = Silent()
    with trio.fail_after(60):
        async with open_spool(producer_of(silent, kind), stop=silent.stop) as batches:
            assert await batches.receive() == b"first"
            await trio.to_thread.run_sync(silent.blocked.wait)
    assert silent.events == ["stopped", "ended"]
    assert threading.main_thread() not in silent.stopped_in


@kinds
async def test_cancelled(kind: str) -> None:
    silent = Silent()
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with open_spool(producer_of(silent, kind), stop=silent.stop) as batches:
            await batches.receive()
            await trio.to_thread.run_sync(silent.blocked.wait)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert silent.events == ["stopped", "ended"]


@pytest.mark.parametrize("ending", ["the peer is gone", "cancelled", "cancelled in the queue"])
@kinds
async def test_of_a_sender(kind: str, ending: str) -> None:
    left, right = memory_stream_pair()
    silent = Silent()
    with trio.fail_after(60):
        async with open_sender(left) as sender:
            if ending == "the peer is gone":
                await right.aclose()
                with pytest.raises(trio.BrokenResourceError):
                    await sender.send_spool(producer_of(silent, kind), stop=silent.stop)
            else:
                async with trio.open_nursery() as nursery:
                    ahead = Silent()
                    if ending == "cancelled in the queue":
                        nursery.start_soon(partial(sender.send_spool, ahead.rows(), stop=ahead.stop))
                        await wait_all_tasks_blocked()
                    nursery.start_soon(partial(sender.send_spool, producer_of(silent, kind), stop=silent.stop))
                    await trio.to_thread.run_sync((silent if ending == "cancelled" else ahead).blocked.wait)
                    nursery.cancel_scope.cancel()
    if ending == "the peer is gone" and not silent.blocked.is_set():
        return  # it saw at its next step that nobody reads, and ended by itself
    assert len(silent.stopped_in) == 1
    if ending != "cancelled in the queue":
        assert silent.events[-1] == "ended"


@kinds
async def test_not_called_after_the_producer_has_ended(kind: str) -> None:
    called = []

    def write(out: SpoolWriter) -> None:
        out.write(b"x")

    def stop() -> None:
        called.append(True)

    producer = [b"x"] if kind == "iterable" else write
    assert await collect(producer, stop=stop) == b"x"
    left, right = memory_stream_pair()
    async with open_sender(left) as sender:
        await sender.send_spool(producer, stop=stop)
    assert await right.receive_some(100) == b"x"
    with pytest.raises(ZeroDivisionError):
        await collect(map((1).__truediv__, [0]), stop=stop)  # type: ignore[arg-type]
    assert called == []


async def test_a_paused_producer_is_stopped_and_then_closed(until) -> None:
    """What `stop` does may be what lets the `finally` of the producer go on."""
    closing = threading.Event()
    events = []

    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            closing.set()
            events.append("closed")

    def stop() -> None:
        closing.wait(0.1)  # it is not to come before
        events.append("stopped")

    spool = open_spool(rows(), limits=SMALL, stop=stop)
    with trio.fail_after(60):
        async with spool:
            await until(lambda: spool.statistics().turns == 1 and not spool.statistics().workers)
    assert events == ["stopped", "closed"]


@kinds
async def test_a_producer_that_waits_for_a_thread(kind: str) -> None:
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire()
    silent = Silent()
    async with open_spool(producer_of(silent, kind), limiter=limiter, stop=silent.stop):
        await wait_all_tasks_blocked()
    assert silent.events == ["stopped"]  # it has not begun


async def test_producers_that_hold_all_threads_can_be_stopped(until) -> None:
    silents = [Silent() for _ in range(PLACES["iterables"])]

    async def stream(silent: Silent) -> None:
        async with open_spool(silent.rows(), stop=silent.stop):
            await trio.sleep_forever()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for silent in silents:
                nursery.start_soon(stream, silent)
            await until(lambda: all(silent.blocked.is_set() for silent in silents))
            nursery.cancel_scope.cancel()
    assert all(silent.events == ["stopped", "ended"] for silent in silents)


# Errors


@kinds
async def test_its_error_is_one_of_closing(kind: str) -> None:
    silent = Silent(ValueError("cannot stop"))
    with pytest.raises(ValueError, match="cannot stop"):
        async with open_spool(producer_of(silent, kind), stop=silent.stop) as batches:
            await batches.receive()
    silent = Silent(ValueError("cannot stop"))
    with pytest.raises(ExceptionGroup) as info:
        async with open_spool(producer_of(silent, kind), stop=silent.stop) as batches:
            await batches.receive()
            raise KeyError
    assert [type(error) for error in info.value.exceptions] == [KeyError, ValueError]
    left, right = memory_stream_pair()
    await right.aclose()
    async with open_sender(left) as sender:
        with pytest.raises(ValueError, match="cannot stop"):
            silent = Silent(ValueError("cannot stop"))
            await sender.send_spool(producer_of(silent, kind), stop=silent.stop)


async def test_both_fail(until) -> None:
    def rows() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
        finally:
            raise KeyError

    spool = open_spool(rows(), limits=SMALL, stop=partial(int, "none"))
    with pytest.raises(ExceptionGroup) as info:
        async with spool:
            await until(lambda: spool.statistics().turns == 1 and not spool.statistics().workers)
    assert [type(error) for error in info.value.exceptions] == [KeyError, ValueError]


async def test_the_error_of_a_call_that_was_interrupted_is_dropped() -> None:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    begun = threading.Event()
    database.create_function("begin", 0, begun.set)
    endless = "WITH RECURSIVE c(x) AS (VALUES (begin()) UNION ALL SELECT 0 FROM c) SELECT sum(x) FROM c"

    def rows() -> Iterator[bytes]:
        for (number,) in database.execute(endless):
            yield b"%d" % number

    with trio.fail_after(60):
        async with open_spool(rows(), stop=database.interrupt):
            await trio.to_thread.run_sync(begun.wait)
    database.close()


@pytest.mark.parametrize("stop", [5, "kill"])
def test_what_is_no_function_is_refused(stop) -> None:
    with pytest.raises(TypeError, match="stop must be a blocking function"):
        open_spool([b"x"], stop=stop)


def test_a_coroutine_function_is_refused() -> None:
    async def stop() -> None:
        pass

    with pytest.raises(TypeError, match="stop must be a blocking function"):
        open_spool([b"x"], stop=stop)


# What people have


async def test_a_queue() -> None:
    items: queue.Queue[bytes | None] = queue.Queue()
    left, right = memory_stream_pair()
    with trio.fail_after(60):
        async with open_sender(left) as sender, trio.open_nursery() as nursery:
            nursery.start_soon(partial(sender.send_spool, iter(items.get, None), stop=partial(items.put, None)))
            items.put(b"item")
            assert await right.receive_some(100) == b"item"
            nursery.cancel_scope.cancel()
    assert list(items.queue) in ([], [None])  # a producer that was not in `get` saw that nobody reads before it came there


async def test_a_queue_whose_client_leaves_while_nothing_is_sent(socket_pair) -> None:
    items: queue.Queue[bytes | None] = queue.Queue()
    ours, theirs = socket_pair()
    with trio.fail_after(60):
        async with open_sender(ours) as sender, trio.open_nursery() as nursery:

            async def leave() -> None:
                assert await theirs.receive_some(100) == b"item"
                await theirs.aclose()

            nursery.start_soon(leave)
            items.put(b"item")
            with pytest.raises(trio.BrokenResourceError):
                await sender.send_spool(iter(items.get, None), stop=partial(items.put, None))
    assert list(items.queue) in ([], [None])  # a producer that was not in `get` saw that nobody reads before it came there


async def test_a_child_process() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    )
    with trio.fail_after(60):
        async with open_spool(child.stdout, stop=child.kill) as batches:
            assert (await batches.receive()).strip() == b"begun"
    assert child.wait() != 0
    assert trio_loop().limiters["stopping"].borrowed_tokens == 0
