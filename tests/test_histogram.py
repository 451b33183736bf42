"""A histogram with buckets that grow: what is exact in it, how far the rest may be off, and that threads may read it."""

from __future__ import annotations

import itertools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_spool._histogram import EXACT, LARGEST, Distribution, Histogram, bucket_of, range_of

VALUES = st.one_of(st.integers(0, 300), st.integers(0, 10**7), st.integers(0, LARGEST))


def recorded(values: list[int]) -> Distribution:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram.read()


@given(VALUES)
def test_any_value_is_in_the_range_of_its_bucket(value: int) -> None:
    lowest, above = range_of(bucket_of(value))
    assert lowest <= value < above
    assert above - lowest <= max(1, lowest / 64)


def test_buckets_leave_no_gap() -> None:
    ranges = [range_of(bucket) for bucket in range(bucket_of(LARGEST) + 1)]
    assert ranges[0][0] == 0
    assert all(above == following for (_, above), (following, _) in itertools.pairwise(ranges))
    assert ranges[-1][1] == LARGEST + 1
    assert len(ranges) == 2240


@given(st.lists(VALUES, min_size=1), st.floats(0.1, 100))
def test_any_percentile_is_within_its_error(values: list[int], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    found = recorded(values).percentile(percent)
    assert abs(found - exact) <= exact / 128
    if exact < EXACT:
        assert found == exact


@given(st.lists(VALUES))
def test_any_mean_and_maximum_are_exact(values: list[int]) -> None:
    distribution = recorded(values)
    assert distribution.count == len(values)
    assert distribution.total == sum(values)
    assert distribution.highest == max(values, default=0)
    assert distribution.mean == (sum(values) / len(values) if values else 0)


@given(st.lists(VALUES))
def test_any_count_below_powers_of_two_is_exact(values: list[int]) -> None:
    bounds = [2**exponent for exponent in range(42)]
    assert recorded(values).below(bounds) == [sum(value < bound for value in values) for bound in bounds]


@given(st.lists(st.tuples(VALUES, st.integers(1, 1000))))
def test_any_count_stands_for_as_many_records(pairs: list[tuple[int, int]]) -> None:
    once, many = Histogram(), Histogram()
    for value, count in pairs:
        many.record(value, count)
        for _ in range(count if count < 20 else 0):
            once.record(value)
    small = Histogram()
    for value, count in pairs:
        if count < 20:
            small.record(value, count)
    assert small.read() == once.read()
    assert many.read().count == sum(count for _, count in pairs)


def test_what_is_too_large_counts_as_the_largest() -> None:
    assert recorded([LARGEST * 5]) == recorded([LARGEST])


def test_nothing_has_no_percentiles() -> None:
    empty = Histogram().read()
    assert (empty.count, empty.mean, empty.percentile(50), empty.percentile(100), list(empty.ranges())) == (0, 0, 0, 0, [])
    assert empty.below([1, 2]) == [0, 0]


@pytest.mark.parametrize("percent", [50, 99, 100])
def test_one_value_is_every_percentile(percent: float) -> None:
    assert recorded([1000]).percentile(percent) == 1000


def test_a_thread_that_reads_sees_counts_that_agree() -> None:
    histogram, ended = Histogram(), threading.Event()

    def record() -> None:
        for value in range(30_000):
            histogram.record(value)
        ended.set()

    thread = threading.Thread(target=record)
    thread.start()
    while not ended.is_set():
        distribution = histogram.read()
        assert distribution.count == sum(distribution.buckets.values())
        assert list(distribution.buckets) == sorted(distribution.buckets)
    thread.join()
    assert histogram.read().count == histogram.count == 30_000
