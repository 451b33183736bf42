"""The limits of a spool, and its counters."""

from __future__ import annotations

import pytest

from trio_spool import SpoolLimits


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
