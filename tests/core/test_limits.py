"""The limits of a spool, and its counters."""

from __future__ import annotations

import asyncio

import pytest
from trio.testing import memory_stream_pair

from trio_spool import SpoolLimits, open_sender, open_spool


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"window": 0}, ValueError),
        ({"batch": -1}, ValueError),
        ({"window": "big"}, TypeError),
        ({"window": True}, TypeError),
        ({"window": 10, "low_water": 10}, ValueError),
        ({"low_water": -1}, ValueError),
        ({"low_water": 1.5}, TypeError),
    ],
)
def test_limits_are_validated(values: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        SpoolLimits(**values)


def test_limits_defaults() -> None:
    assert SpoolLimits(window=1000).low_water == 500


def test_statistics_add_up() -> None:
    from trio_spool import SpoolStatistics

    total = SpoolStatistics(bytes=1, high_water=5) + SpoolStatistics(bytes=2, high_water=3)
    assert (total.bytes, total.high_water) == (3, 5)
    with pytest.raises(TypeError):
        SpoolStatistics() + 1


async def test_what_is_not_a_limiter_is_refused() -> None:
    """And does not end the Trio run, as an error in the driver would."""
    with pytest.raises(TypeError, match=r"must be a trio\.CapacityLimiter"):
        async with open_spool([b"x"], limiter=asyncio.Semaphore(1)):  # type: ignore[call-overload]
            pass
    ours, _ = memory_stream_pair()
    async with open_sender(ours) as sender:
        with pytest.raises(TypeError, match=r"must be a trio\.CapacityLimiter"):
            await sender.send_spool([b"x"], limiter=5)
