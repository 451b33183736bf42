"""How a scan gives way to writes: it sleeps as long as they need, in proportion to what it has used of the interpreter itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trio_spool.engine import ENGINES, Engine, EngineKind, EngineOptions
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.shared import Pace, RangeScan, ScanQuery

EXTRAS = bytes(8)
# What a write takes altogether, in multiples of the writer's time, and what a scan leaves to writes, in multiples of its own.
COST, SHARE = 3.0, 8.0


class Busy:
    """An engine whose writer has used some processor time."""

    def __init__(self) -> None:
        self.writer_seconds = 100.0


class Timeline:
    """A scan's pieces, and how long it sleeps after each."""

    def __init__(self) -> None:
        self.engine: Any = Busy()
        self.slept: list[float] = []
        self._pace = Pace(self.engine, self.slept.append)

    def piece(self, spent: float, written: float = 0.0) -> float:
        """Return how long the scan sleeps after a piece, in which it has `spent` time, and the writer some as well."""
        self.engine.writer_seconds += written
        before = len(self.slept)
        self._pace.give_way_in_thread(spent)
        return sum(self.slept[before:])


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


def test_where_nothing_is_written_it_does_not_sleep(timeline) -> None:
    assert [timeline.piece(0.01) for _ in range(5)] == [0] * 5
    assert timeline.slept == []


def test_what_was_written_before_it_does_not_count(timeline) -> None:
    assert timeline.piece(1.0) == 0


def test_it_sleeps_for_as_long_as_writes_need(timeline) -> None:
    assert timeline.piece(0.01, written=0.002) == pytest.approx(COST * 0.002)
    assert timeline.piece(0.01) == 0  # that was it
    assert timeline.piece(0.01, written=0.001) == pytest.approx(COST * 0.001)


def test_but_no_longer_than_its_share(timeline) -> None:
    assert timeline.piece(0.01, written=5.0) == pytest.approx(SHARE * 0.01)
    assert timeline.piece(0.01) == 0  # what is above its share is not put off
    assert timeline.piece(0.02, written=5.0) == pytest.approx(SHARE * 0.02)


def test_short_sleeps_are_put_together(timeline) -> None:
    slept = [timeline.piece(0.01, written=0.00002) for _ in range(100)]
    assert slept.count(0) >= 50
    assert min(filter(None, slept)) >= 0.0002
    assert sum(slept) == pytest.approx(COST * 0.00002 * 100, rel=0.1)


# In a service


class Looks:
    """An engine in memory whose writer is always busy: at each look, it has used a second more."""

    def __init__(self) -> None:
        self.count = 0

    def kind(self) -> EngineKind:
        return EngineKind("busy", needs_directory=False, open=self._open)

    def _open(self, options: EngineOptions) -> Engine:
        engine: Any = ENGINES["memory"].open(options)
        looks = self

        class Busy(type(engine)):
            @property
            def writer_seconds(self) -> float:
                looks.count += 1
                return float(looks.count)

        engine.__class__ = Busy
        return engine


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
async def service(run_service, looks):
    async with run_service(engine=looks.kind()) as served:
        async with served.connect() as raw:
            for start in range(0, 10_000, 1000):
                keys = [b"k%05d" % number for number in range(start, start + 1000)]
                await raw.send(*(encode_request(Opcode.SETQ, key=key, extras=EXTRAS) for key in keys))
                await raw.call(Opcode.NOOP)
        yield served


@pytest.mark.parametrize("keys_only", [True, False])
async def test_a_scan_looks_for_writes_after_each_piece(service, raw, looks, keys_only: bool) -> None:
    identity = (await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(keys_only=keys_only)))).value
    before = looks.count
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, 0, 0, 0)))
    while (await raw.receive()).status != Status.SCAN_COMPLETE:
        pass
    assert looks.count - before >= 10_000 // 256  # the keys of a piece


async def test_a_scan_sleeps_in_proportion_to_its_own_time(service) -> None:
    scan = RangeScan(1, ScanQuery(), service.inside.buckets.default, None)
    began, used = time.monotonic(), time.thread_time()
    for _ in range(20):
        scan.read_in_thread(256, 1 << 20, lambda records, skip: [])
    used = time.thread_time() - used
    assert time.monotonic() - began >= SHARE / 2 * used
