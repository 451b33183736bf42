"""The copy of this project's package that the simulations run, and what is a switch point in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import cache

from .asyncio_spools import AsyncioSpoolRun, AsyncioStreamRun
from .baton import RandomSchedule, Schedule
from .copies import Copy, Mutations, Observer
from .handing_over import HandingOver
from .scenarios import Scenario, SpoolRun, StreamRun, draw, draw_silent
from .sending import SenderRun, draw_sending

# Whether this is the long session.
FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
# Every field that both sides use is used within so many seeds. Measured: the last of 48 was found by seed 79, and none in 120 more.
LOOKS = 100


@cache
def shared() -> frozenset[str]:
    """Return what both sides use, of which at least one writes: found by having every access be a switch point first."""
    copy, observer = Copy(), Observer()
    for seed in range(LOOKS):
        for run in (
            SpoolRun(copy, draw(seed), RandomSchedule(seed), seed=seed),
            AsyncioSpoolRun(copy, draw(seed), RandomSchedule(seed), seed=seed),
            SenderRun(copy, draw_sending(seed), RandomSchedule(seed), seed=seed),
            HandingOver(copy, draw(seed), RandomSchedule(seed), closes=bool(seed % 2), yields=bool(seed % 3)),
        ):
            run.baton.record = observer
            with contextlib.suppress(AssertionError):  # the tests tell
                run.check()
    copy.unload()
    return observer.shared()


@cache
def subject() -> Copy:
    """Return the copy."""
    return Copy(shared())


@cache
def everything() -> Copy:
    """Return a copy with every access as a switch point: an interrupt may also come where only one side is concerned."""
    return Copy()


def mutant(mutations: Mutations) -> Copy:
    """Return a copy with a fault."""
    return Copy(shared(), mutations)


def sender_run(copy: Copy, seed: int, schedule: Schedule, tracing: bool) -> SenderRun:
    """Return the run of a seed."""
    sending = draw_sending(seed)
    if copy is subject() and sending.event == "ctrl-c":
        copy = everything()
    return SenderRun(copy, sending, schedule, seed=seed, tracing=tracing)


def spool_run(
    copy: Copy,
    seed: int,
    schedule: Schedule,
    tracing: bool,
    kind: type[SpoolRun] = SpoolRun,
    draw: Callable[[int], Scenario] = draw,
) -> SpoolRun:
    """Return the run of a seed."""
    scenario = draw(seed)
    if copy is subject() and scenario.event == "ctrl-c":
        copy = everything()
    return kind(copy, scenario, schedule, seed=seed, tracing=tracing)


def asyncio_run(copy: Copy, seed: int, schedule: Schedule, tracing: bool) -> SpoolRun:
    """Return the run of a seed in asyncio."""
    return spool_run(copy, seed, schedule, tracing, AsyncioSpoolRun)


def stream_run(copy: Copy, seed: int, schedule: Schedule, tracing: bool) -> SpoolRun:
    """Return the run of a seed with a stream."""
    return spool_run(copy, seed, schedule, tracing, StreamRun)


def asyncio_stream_run(copy: Copy, seed: int, schedule: Schedule, tracing: bool) -> SpoolRun:
    """Return the run of a seed with a stream in asyncio."""
    return spool_run(copy, seed, schedule, tracing, AsyncioStreamRun)


def silent_run(copy: Copy, seed: int, schedule: Schedule, tracing: bool) -> SpoolRun:
    """Return the run of a seed whose producer falls silent, in one of the four ways."""
    kind = (SpoolRun, AsyncioSpoolRun, StreamRun, AsyncioStreamRun)[seed % 4]
    return spool_run(copy, seed, schedule, tracing, kind, draw_silent)
