"""Functions beside each other, until the first of them ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from trio_spool.asgi._beside import sleep, until_first

Run = Callable[..., Any]


async def for_ever() -> None:
    while True:
        await sleep(3600)


async def ends() -> None:
    await sleep(0)


async def fails() -> None:
    await sleep(0)
    raise KeyError("fails")


async def fails_when_cancelled() -> None:
    try:
        await sleep(3600)
    finally:
        raise ValueError("cancelled")


@pytest.mark.parametrize("functions", [(ends, for_ever), (for_ever, ends), (for_ever, ends, for_ever)])
def test_the_first_end_ends_all(run: Run, functions: Any) -> None:
    run(until_first, *functions)


def test_a_failure_is_raised_as_it_is(run: Run) -> None:
    with pytest.raises(KeyError):
        run(until_first, for_ever, fails)


def test_of_two_failures_that_of_the_first_function_is_raised(run: Run) -> None:
    with pytest.raises(ValueError, match="cancelled"):
        run(until_first, fails_when_cancelled, fails)
    with pytest.raises(KeyError):
        run(until_first, fails, fails_when_cancelled)


def test_asyncio_logs_no_failure_that_was_seen() -> None:
    logged = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: logged.append(context))
        with suppress(KeyError):  # and not `pytest.raises`, which keeps the tasks, as they are in the traceback
            await until_first(fails, fails_when_cancelled)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert logged == []


def test_cancellation_on_trio_waits_for_all() -> None:
    ended = []

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            ended.append(True)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await until_first(slow, for_ever)
        assert ended
        assert scope.cancelled_caught

    trio.run(main)


def test_cancellation_on_asyncio_waits_for_all_however_often() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append(True)

    async def main() -> None:
        task = asyncio.ensure_future(until_first(slow, for_ever))
        for _ in range(5):
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    asyncio.run(main())
