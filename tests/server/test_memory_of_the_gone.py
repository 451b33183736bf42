"""Memory is given back to the system once connections that moved a lot have ended."""

from __future__ import annotations

from trio_spool.server.shared import Allocator
from trio_spool.server.shared._allocator import LEAST, find_trim


async def test_it_is_given_back_when_enough_has_ended() -> None:
    calls: list[int] = []
    allocator = Allocator(lambda: calls.append(1))
    allocator.ended(LEAST - 1)
    await allocator.tidy()
    assert calls == []
    allocator.ended(1)
    await allocator.tidy()
    await allocator.tidy()
    assert calls == [1]


async def test_where_nothing_can_be_given_back() -> None:
    allocator = Allocator(None)
    allocator.ended(LEAST)
    await allocator.tidy()


async def test_the_system_is_asked() -> None:
    trim = find_trim()
    if trim is not None:
        trim()
        allocator = Allocator(trim)
        allocator.ended(LEAST)
        await allocator.tidy()
