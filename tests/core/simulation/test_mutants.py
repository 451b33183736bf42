"""Faults that are put into the hand-over, to see that the simulation finds them.

Behind each stands the first seed that found it when it was written.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("greenlet", reason="the simulation's threads are greenlets")

from support.simulation.baton import RandomSchedule, Schedule
from support.simulation.copies import Copy, Mutations
from support.simulation.exploring import Simulated, try_seeds
from support.simulation.subjects import mutant, sender_run, silent_run, spool_run

HANDOFF, EMISSION, BUFFER, BATON = (
    "_core.handover._handoff",
    "_core.handover._emission",
    "_core.handover._buffer",
    "_core.handover._baton",
)
MUTANTS: dict[str, Mutations] = {
    # Lost wake-ups.
    "the receiver does not look again before it sleeps": {  # 402
        HANDOFF: [("            if batch := self.take_nowait():\n                self._waiting = False\n                return batch\n", "")]
    },
    "the worker does not look again before it goes on": {  # 577
        EMISSION: [("        if self._waiting or self._closing:\n            self._stop = 0\n        return False", "        return False")]
    },
    "the worker wakes the receiver before it says so": {  # 40
        EMISSION: [
            (
                "        self._waiting = False\n        self._call_soon_in_thread(self._woken_by_worker)",
                "        self._call_soon_in_thread(self._woken_by_worker)\n        self._waiting = False",
            )
        ]
    },
    "the worker does not look again before it parks": {BATON: [("        if unless():\n            patience = 0\n", "")]},  # 525
    # Doubled batches.
    "a batch that is sealed forgets what was taken of it": {  # 5
        BUFFER: [("self.open[self._taken :] if self._taken else self.open", "self.open")]
    },
    "sealing takes no lock": {  # 21
        BUFFER: [("        with self._lock:\n            batch: Any", "        if True:\n            batch: Any")]
    },
    "taking takes no lock": {BUFFER: [("        with self._lock:\n            if self._sealed", "        if True:\n            if self._sealed")]},  # 105
    # Missed closes.
    "closing does not release a worker": {  # 749
        EMISSION: [("        self._buffer.runs.revoke()\n        self._baton.release()", "        self._buffer.runs.revoke()")]
    },
    "closing does not wake a driver": {HANDOFF: [("        self._room.wake()\n        self.give_up()", "        self.give_up()")]},  # 116
    "a paused producer is not closed": {  # 13
        "_core.producers._driving": [("        if turns.open:\n            handoff.stopped", "        if turns.open and not handoff.closing:\n            handoff.stopped")]
    },
}  # fmt: skip
SENDER, QUEUE, JOB = "_core.sending._send_task", "_core.sending._queue", "_core.sending._job"
SENDER_MUTANTS: dict[str, Mutations] = {
    # Lost wake-ups.
    "a mark is not set when the stream breaks": {SENDER: [("            elif not isinstance(entry, bytes):\n                entry.set()", "            else:\n                pass")]},  # 38
    "room that is made wakes nobody": {QUEUE: [("        if self._room and self.size <= self._limits.low_water:\n            self._room.wake_all()", "        pass")]},  # 19
    # Doubled batches.
    "an entry that is joined stays in the queue": {QUEUE: [("            part = entries.popleft()\n            assert", "            part = entries.popleft()\n            entries.append(part) if size == len(data) else None\n            assert")]},  # 1
    "a batch is not settled before another is taken": {SENDER: [("            handoff.settle(batch)\n            begun = True", "            begun = True")]},  # 0
    # Missed closes.
    "a job whose turn never comes is not left": {SENDER: [("            if isinstance(entry, SpoolJob):\n                entry.leave()", "            if isinstance(entry, SpoolJob):\n                pass")]},  # 27
    "a stream that broke is not closed": {SENDER: [("            self.outlet.abort()\n            await self.outlet.close()\n", "            self.outlet.abort()\n")]},  # 2
}  # fmt: skip
ENOUGH = 10_000


@pytest.mark.parametrize("name", MUTANTS)
def test_it_is_found(name: str) -> None:
    _find(mutant(MUTANTS[name]), spool_run)


@pytest.mark.parametrize("name", SENDER_MUTANTS)
def test_it_is_found_in_a_sender(name: str) -> None:
    _find(mutant(SENDER_MUTANTS[name]), sender_run)


def test_a_stop_function_that_is_not_called_is_found() -> None:
    old = "            self._left_or_ended.set()\n\n    async def call_stop"
    _find(mutant({"_core.producers._driving": [(old, "            pass\n\n    async def call_stop")]}), silent_run)


def test_a_seed_that_fails_says_how_to_replay_it() -> None:
    copy = mutant(MUTANTS["a batch that is sealed forgets what was taken of it"])
    with pytest.raises(AssertionError, match=r"(?s)seed \d+: .*received.*replay (\d+)\n.*shortest.*worker goes on at") as caught:
        try_seeds(lambda seed, schedule, tracing: spool_run(copy, seed, schedule, tracing), range(1000), "replay {seed}")
    assert len(str(caught.value).splitlines()) < 40


def _find(copy: Copy, make: Callable[[Copy, int, Schedule, bool], Simulated]) -> None:
    for seed in range(ENOUGH):
        try:
            make(copy, seed, RandomSchedule(seed), False).check()
        except AssertionError:
            print(f"found by seed {seed}")
            return
    raise AssertionError("not found")
