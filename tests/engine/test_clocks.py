"""The clocks of an engine: what somebody may set without harm."""

from __future__ import annotations

import pytest

from trio_spool.engine import Lock, Problem, Store
from trio_spool.engine._clocks import Clocks

HOUR = 3600.0
NANOSECONDS = 10**9


class Settable:
    """A Unix time that is set, beside a clock that nobody sets. Seconds pass for both."""

    def __init__(self) -> None:
        self.unix = 1_000_000.0
        self.steady = 50.0

    def pass_(self, seconds: float) -> None:
        self.unix += seconds
        self.steady += seconds

    @property
    def options(self):
        return {"clock": lambda: self.unix, "steady_clock": lambda: self.steady, "expiry_interval": 3600}


@pytest.fixture
def time():
    return Settable()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_lock_ends_when_its_seconds_are_over(make, time, step: float) -> None:
    engine = make(**time.options)
    engine.execute([Store(b"k", b"v"), Lock(b"k", 3)])
    time.unix += step
    time.pass_(2.9)
    assert engine.is_locked(b"k")
    assert engine.execute([Store(b"k", b"w")])[0].problem is Problem.LOCKED
    time.pass_(0.2)
    assert not engine.is_locked(b"k")
    assert engine.execute([Store(b"k", b"w")])[0].problem is None


def test_cas_values_and_the_hybrid_time_go_on_by_the_second(make, time) -> None:
    """Whatever the Unix time does: a transaction that another client left behind expires by this difference."""
    engine = make(**time.options)
    (first,) = engine.execute([Store(b"k", b"v")])
    assert first.cas - int(time.unix) * NANOSECONDS == 1
    time.unix -= HOUR
    time.pass_(30)
    assert engine.hybrid_time() - first.cas == pytest.approx(30 * NANOSECONDS, abs=10_000)
    (second,) = engine.execute([Store(b"k", b"v")])
    assert second.cas - first.cas == pytest.approx(30 * NANOSECONDS, abs=10_000)
    assert engine.hybrid_time() >= second.cas


def test_the_hybrid_time_is_no_less_than_any_cas(make, time) -> None:
    engine = make(**time.options)
    outcomes = engine.execute([Store(b"k", b"v")] * 1000)
    assert engine.hybrid_time() == outcomes[-1].cas
    assert len({outcome.cas for outcome in outcomes}) == 1000


def test_the_hybrid_time_follows_the_unix_time_forward(make, time) -> None:
    engine = make(**time.options)
    time.unix += HOUR
    assert engine.hybrid_time() == pytest.approx(time.unix * NANOSECONDS, abs=10_000)


def test_after_a_restart_the_hybrid_time_goes_on_from_the_last_cas(make_lmdb, time) -> None:
    engine = make_lmdb(**time.options)
    (before,) = engine.execute([Store(b"k", b"v")])
    engine.close()
    time.unix -= HOUR
    time.steady = 1.0  # of another boot
    engine = make_lmdb(**time.options)
    time.pass_(10)
    assert engine.hybrid_time() - before.cas == pytest.approx(10 * NANOSECONDS, abs=10_000)
    assert engine.execute([Store(b"k", b"v")])[0].cas - before.cas == pytest.approx(10 * NANOSECONDS, abs=10_000)


def test_the_hybrid_time_never_goes_back() -> None:
    time = Settable()
    clocks = Clocks(lambda: time.unix, lambda: time.steady)
    readings = []
    for step, seconds in ((0, 1), (-HOUR, 1), (2 * HOUR, 1), (-5 * HOUR, 2), (1e-3, 0), (-1e-3, 0)):
        time.unix += step
        time.pass_(seconds)
        readings += [clocks.hybrid(), clocks.now().hybrid]
    assert readings == sorted(readings)
