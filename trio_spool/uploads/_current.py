"""The event loop that runs."""

from __future__ import annotations

import trio

from .._core import Loop, trio_loop


def current_loop() -> Loop:
    """Return the loop that runs in this thread, as the library sees it.

    Raises:
        RuntimeError: Neither Trio nor asyncio runs in this thread.
    """
    if trio.lowlevel.in_trio_task():
        return trio_loop()
    from ..asyncio._loop import asyncio_loop  # a program on Trio need not load asyncio

    return asyncio_loop()
