"""Cancellations and interrupts at random lines of the library, with real threads, sockets and loops: nothing is lost, left or swallowed.

The line at which one comes is counted in the event loop's thread, in the code of the library, and drawn from a seed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio

import trio_spool
import trio_spool.asyncio
from trio_spool import SpoolLimits

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
# In CI, as many as take a few seconds: about 3 ms each on an idle machine.
STORMS = 10_000 if FUZZ else 200
LIBRARY = str(Path(trio_spool.__file__).parent)
# Fragments, a window and batches so small that the two sides wait for each other.
COUNT, SIZE = 40, 50
LIMITS = SpoolLimits(window=400, batch=200)
DATA = bytes(number % 251 for number in range(COUNT * SIZE))
# About the number of lines that run in the loop's thread for all of it.
LINES = 1200


class AtLine:
    """Does something at a certain line of some files, counted in this thread."""

    def __init__(self, line: int, files: str = LIBRARY) -> None:
        self._left = line
        self._files = files
        self.action: Callable[[], object] | None = None
        self.fired = False

    def __enter__(self) -> AtLine:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self._files) else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and self.action is not None:
            self._left -= 1
            if self._left == 0:
                self.fired = True
                self.action()
        return self._line


class Emitting:
    """A producer that notes how it ended."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.begun = False
        self.ended: list[int] = []  # the threads in which it ended

    def _generate(self) -> Iterator[bytes]:
        self.begun = True
        try:
            for begin in range(0, len(DATA), SIZE):
                yield DATA[begin : begin + SIZE]
        finally:
            self.ended.append(threading.get_ident())

    def _write(self, out: Any) -> None:
        for fragment in self._generate():
            out.write(fragment)

    def make(self) -> Any:
        return self._generate() if self._kind == "generator" else self._write

    def check(self) -> None:
        assert len(self.ended) == self.begun, "not closed, or closed twice"
        assert threading.get_ident() not in self.ended, "closed by the event loop's thread"


class Storm:
    """One run, into which something comes at a line.

    Attributes:
        received: The bytes that the receiver or the peer has received.
        complete: Whether all was done before anything came.
    """

    def __init__(self, seed: int, *, sends: bool, spares_the_library: bool = False) -> None:
        drawn = random.Random(seed)
        self.emitting = Emitting(drawn.choice(("generator", "function")))
        self.at = AtLine(drawn.randint(1, LINES // 20), __file__) if spares_the_library else AtLine(drawn.randint(1, LINES))
        self._sends = sends
        self.received = bytearray()
        self.complete = False
        self._ended_first = True

    async def trio_main(self) -> None:
        if self._sends:
            await self._send_in_trio()
            return
        try:
            async with trio_spool.open_spool(self.emitting.make(), limits=LIMITS) as batches:
                async for batch in batches:
                    self.received += batch
        finally:
            self._note_the_end()
        self.complete = True

    async def _send_in_trio(self) -> None:
        left, right = trio.socket.socketpair()

        async def read() -> None:
            while data := await right.recv(1000):
                self.received.extend(data)

        with right:
            async with trio.SocketStream(left) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(read)
                async with trio_spool.open_sender(stream, limits=LIMITS) as sender:
                    await sender.send(DATA[:10])
                    try:
                        await sender.send_spool(self.emitting.make())
                    finally:
                        self._note_the_end()
                await stream.send_eof()
            self.complete = True

    async def asyncio_main(self) -> None:
        if self._sends:
            await self._send_in_asyncio()
            return
        try:
            async with trio_spool.asyncio.open_spool(self.emitting.make(), limits=LIMITS) as batches:
                async for batch in batches:
                    self.received += batch
        finally:
            self._note_the_end()
        await asyncio.sleep(0)  # where a cancellation comes that was not raised before
        self.complete = True

    async def _send_in_asyncio(self) -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        loop = asyncio.get_running_loop()

        async def read() -> None:
            while data := await loop.sock_recv(right, 1000):
                self.received.extend(data)

        reading = asyncio.ensure_future(read())
        try:
            with left:
                async with trio_spool.asyncio.open_sender(left, limits=LIMITS) as sender:
                    await sender.send(DATA[:10])
                    try:
                        await sender.send_spool(self.emitting.make())
                    finally:
                        self._note_the_end()
            await asyncio.wait([reading])
        finally:
            reading.cancel()
            right.close()
        self.complete = True

    def _note_the_end(self) -> None:
        self._ended_first = len(self.emitting.ended) == self.emitting.begun

    def check(self, came: bool) -> None:
        """Check what must be true in the end, whether something came or not."""
        expected = DATA[:10] + DATA if self._sends else DATA
        assert self._ended_first, "the block ended before its producer"
        assert expected.startswith(self.received)
        assert not self.complete or self.received == expected
        assert self.complete or came
        self.emitting.check()


def raise_interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def one_in_trio(storm: Storm, event: str) -> None:
    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            storm.at.action = partial(token.run_sync_soon, scope.cancel) if event == "cancel" else raise_interrupt
            await storm.trio_main()
            storm.at.action = None
        storm.at.action = None
        assert storm.complete or scope.cancelled_caught

    error = None
    with storm.at:
        try:
            trio.run(main)
        except BaseException as exc:
            error = exc
    check_error(error, came=storm.at.fired and event == "ctrl-c")


def one_in_asyncio(storm: Storm, event: str) -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        storm.at.action = partial(asyncio.get_running_loop().call_soon, task.cancel) if event == "cancel" else raise_interrupt
        await storm.asyncio_main()
        storm.at.action = None
        await asyncio.sleep(0)

    error = None
    with storm.at:
        try:
            asyncio.run(main())
        except asyncio.CancelledError as exc:
            assert event == "cancel" and storm.at.fired
            error = exc if event != "cancel" else None
        except BaseException as exc:
            error = exc
        else:
            assert not storm.at.fired, "swallowed"
    check_error(error, came=storm.at.fired and event == "ctrl-c")


def check_error(error: BaseException | None, *, came: bool) -> None:
    if error is not None and not (came and {type(exc) for exc in flat(error)} == {KeyboardInterrupt}):
        raise error
    assert not came or error is not None, "Ctrl-C was swallowed"


def flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from flat(inner)
    else:
        yield error


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


LOOPS: dict[str, Callable[[Storm, str], None]] = {"trio": one_in_trio, "asyncio": one_in_asyncio}


@pytest.mark.timeout(3600 if FUZZ else 240)
@pytest.mark.parametrize("sends", [False, True], ids=["spool", "sender"])
@pytest.mark.parametrize("event", ["cancel", "ctrl-c"])
@pytest.mark.parametrize("loop", LOOPS)
def test_any_storm(loop: str, event: str, sends: bool) -> None:
    # Before Python 3.11, asyncio raises an interrupt in whatever task runs, between any two lines. Nothing that takes several steps can
    # be made safe there, so it only comes in the code around the library.
    spares = loop == "asyncio" and event == "ctrl-c" and sys.version_info < (3, 11)
    if spares and sends:
        pytest.skip("the task that reads from the sender would be interrupted")
    before, left = descriptors(), weakref.WeakSet[Emitting]()
    for seed in range(STORMS // 2):
        storm = Storm(seed, sends=sends, spares_the_library=spares)
        left.add(storm.emitting)
        try:
            LOOPS[loop](storm, event)
            storm.check(storm.at.fired)
        except BaseException as exc:
            raise AssertionError(f"seed {seed}: {exc!r}") from exc
        del storm
    deadline = time.monotonic() + 30
    gc.collect()
    while left and time.monotonic() < deadline:
        time.sleep(0.1)  # the thread that watches for what takes too long may hold one for some seconds
        gc.collect()
    assert not left, "producers are held"
    assert descriptors() <= before + 10, "descriptors were left open"
