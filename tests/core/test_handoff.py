"""The two threads of a hand-over pass each other at the worst moment: no wake-up is lost.

Each test has one side act between two lines of the other side, where a thread could be held up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import trio

from trio_spool import SpoolLimits
from trio_spool._core.handover._handoff import Handoff
from trio_spool._core.handover._runs import Runs
from trio_spool._core.trio._loop import trio_loop


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def begin_to_wait(handoff: Handoff) -> None:
    """Do what a receiver does before it falls asleep."""
    handoff._waiting = True
    handoff._stop = 0
    handoff._buffer.runs.revoke()


async def test_a_fragment_that_comes_just_before_the_receiver_waits() -> None:
    class Racing(Handoff):
        raced = False

        def take_nowait(self) -> bytes:
            batch = super().take_nowait()
            if not self.raced:
                self.raced = True
                in_thread(lambda: self.run_in_thread(lambda: self.emitter_in_thread()(b"x")))
            return batch

    with trio.fail_after(10):
        assert await Racing(SpoolLimits(), trio_loop()).take() == b"x"


async def test_a_receiver_that_waits_just_before_the_worker_goes_on() -> None:
    class Racing(Handoff):
        raced = False

        def _next_stop_in_thread(self) -> int:
            stop = super()._next_stop_in_thread()
            if not self.raced:
                self.raced = True
                begin_to_wait(self)
            return stop

    handoff = Racing(SpoolLimits(), trio_loop())
    wakeups = []

    def write() -> None:
        emit = handoff.emitter_in_thread()
        for _ in range(2):
            emit(b"x")
            wakeups.append(handoff.statistics().wakeups)

    in_thread(lambda: handoff.run_in_thread(write))
    assert wakeups == [0, 1]


async def test_a_receiver_that_waits_just_before_a_run_begins() -> None:
    handoff = Handoff(SpoolLimits(), trio_loop())

    class Racing(Runs):
        raced = False

        def prepare(self, room: int) -> None:
            if not self.raced and self.fragments:
                self.raced = True
                begin_to_wait(handoff)
            super().prepare(room)

    handoff._buffer.runs = Racing()
    handoff._buffer.small = True
    wakeups = []

    def generate():
        for _ in range(5):
            wakeups.append(handoff.statistics().wakeups)
            yield b"x"

    in_thread(lambda: handoff.spool_in_thread(generate()))
    assert wakeups == [0, 0, 1, 1, 1]
