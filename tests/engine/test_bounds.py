"""Stores with a bound: what is evicted, what is not, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.storage import wait_until
from trio_spool.engine import (
    SMALLEST_BOUND,
    Concat,
    CopyError,
    Delete,
    Engine,
    Evicted,
    Flush,
    Get,
    Lock,
    Operation,
    Outcome,
    Problem,
    Store,
    bound_of,
    open_engine,
)

SIZE = SMALLEST_BOUND
VALUE = b"v" * 10_000
Open = Callable[..., Engine]


@pytest.fixture(params=["lmdb", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def evicted() -> list[bytes]:
    return []


@pytest.fixture
def open_bounded(kind: str, tmp_path: Path, evicted: list[bytes]) -> Any:
    engines = []

    def note(items: list[Evicted]) -> None:
        evicted.extend(item.key for item in items)

    def open_it(policy: str = "size-aware", size: int = SIZE, **options: Any) -> Engine:
        engine = open_engine(kind, tmp_path / "data", fsync="no", bound=bound_of(size, policy), evicted=note, **options)
        engines.append(engine)
        return engine

    yield open_it
    for engine in engines:
        engine.close()


def do(engine: Engine, operation: Operation) -> Outcome:
    (outcome,) = engine.execute([operation])
    return outcome


def fill(engine: Engine, size: int = 3 * SIZE, prefix: bytes = b"fill") -> None:
    for number in range(size // len(VALUE)):
        assert do(engine, Store(b"%b%05d" % (prefix, number), VALUE)).problem is None


def held(engine: Engine) -> int:
    return sum(space.bytes for space in engine.spaces.values())


def test_what_is_too_much_is_evicted(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded()
    fill(engine)
    statistics = engine.statistics()
    assert statistics.evictions == len(evicted) > 0
    assert statistics.max_size == SIZE
    assert SIZE * 0.6 < held(engine) <= SIZE * 1.2
    assert statistics.disk_bytes <= SIZE * 1.3
    keys = {key for key, _ in engine.entries()}
    assert len(keys) == statistics.items
    assert not keys & set(evicted)
    assert len(keys) + len(evicted) == 3 * SIZE // len(VALUE)


def test_an_eviction_is_a_mutation(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded()
    fill(engine)
    assert engine.seqno == 3 * SIZE // len(VALUE) + len(evicted)


def test_used_items_stay(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded()
    reader = engine.open_reader()
    engine.count_uses(reader)
    used = [b"used%02d" % number for number in range(20)]
    for key in used:
        do(engine, Store(key, VALUE))
    for number in range(100):
        assert len(reader.get_many(used, 1 << 30)) == len(used)
        assert reader.get(used[0]) is not None
        reader.release()
        fill(engine, SIZE // 20, b"fill%02d" % number)
    assert len(evicted) > 1000
    assert not set(evicted) & set(used)


def test_what_is_used_after_it_was_chosen_stays(open_bounded: Open, evicted: list[bytes]) -> None:
    """A window's victims are chosen together, and go one after the other, as room is needed."""
    engine = open_bounded()
    reader = engine.open_reader()
    engine.count_uses(reader)
    number = 0
    while not (chosen := [key for key, _, _ in engine.keeper._chosen]):
        do(engine, Store(b"k%05d" % number, VALUE))
        number += 1
    assert len(reader.get_many(chosen, 1 << 30)) == len(chosen)
    evicted.clear()
    while len(evicted) < 3:
        do(engine, Store(b"k%05d" % number, VALUE))
        number += 1
    assert not set(evicted) & set(chosen)


def test_reading_without_counting_counts_nothing(open_bounded: Open, kind: str) -> None:
    engine = open_bounded()
    reader = engine.open_reader()
    assert reader.used is None
    engine.count_uses(reader)
    assert reader.used is not None
    engine.limit_size(bound_of(0, "size-aware"))
    assert reader.used is None


def test_the_larger_of_unused_items_goes(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded()
    small = [b"a%04d" % number for number in range(0, 1000, 5)]
    for number in range(1000):
        do(engine, Store(b"a%04d" % number, b"s" * 100 if number % 5 == 0 else VALUE))
    assert len(evicted) > 300
    assert not set(evicted) & set(small)


def test_expired_items_go_first(open_bounded: Open, evicted: list[bytes], kind: str) -> None:
    now = [1000.0]
    engine = open_bounded(clock=lambda: now[0], expiry_interval=3600)
    for number in range(SIZE // len(VALUE) * 3 // 4):
        do(engine, Store(b"e%05d" % number, VALUE, expiry=2000))
    assert not evicted
    now[0] = 2000.0
    fill(engine, SIZE // 2)
    assert not evicted
    statistics = engine.statistics()
    assert statistics.expired == SIZE // len(VALUE) * 3 // 4
    assert statistics.items == SIZE // 2 // len(VALUE)


def test_locked_items_stay(open_bounded: Open, evicted: list[bytes]) -> None:
    now = [0.0]
    engine = open_bounded(steady_clock=lambda: now[0])
    do(engine, Store(b"locked", VALUE))
    assert do(engine, Lock(b"locked", 30)).problem is None
    fill(engine)
    assert b"locked" not in evicted
    now[0] = 30.0
    fill(engine, 3 * SIZE, b"more")
    assert b"locked" in evicted


def test_what_may_not_be_evicted_stays(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded(may_evict=lambda key, xattrs: not key.startswith(b"keep"))
    for number in range(100):
        do(engine, Store(b"keep%d" % number, VALUE))
    fill(engine)
    assert evicted
    assert not any(key.startswith(b"keep") for key in evicted)


def test_nothing_can_be_evicted(open_bounded: Open, evicted: list[bytes], kind: str) -> None:
    """A cache that may evict nothing refuses what would exceed its bound, and the writer thread does not look for ever."""
    engine = open_bounded(may_evict=lambda key, xattrs: False)
    problems = [do(engine, Store(b"%05d" % number, VALUE)).problem for number in range(2 * SIZE // len(VALUE))]
    assert not evicted
    stored = problems.index(Problem.FULL)
    assert set(problems[stored:]) == {Problem.FULL}
    assert engine.statistics().items == stored < 1.1 * SIZE / len(VALUE)
    assert not engine.keeper.behind
    assert do(engine, Delete(b"00000")).problem is None
    for number in range(1, stored // 4):
        do(engine, Delete(b"%05d" % number))
    assert do(engine, Store(b"new", VALUE)).problem is None


def test_keys_that_are_gone_are_no_reason_to_refuse_others(open_bounded: Open) -> None:
    """The ring of the engine memory still has them until the hand has been round."""
    engine = open_bounded()
    fill(engine)
    for number in range(3 * SIZE // len(VALUE)):
        do(engine, Delete(b"fill%05d" % number))
    fill(engine, prefix=b"other")
    engine.execute([Flush()])
    fill(engine, prefix=b"third")


def test_a_transaction_evicts_at_most_twice_what_it_stores(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded(size=4 * SIZE)
    fill(engine, 4 * SIZE)
    evicted.clear()
    engine.limit_size(bound_of(SIZE, "size-aware"))
    do(engine, Store(b"one", VALUE))
    # The background goes on by itself, by as much in each transaction.
    wait_until(lambda: held(engine) <= SIZE * 1.2)
    assert evicted


def test_an_idle_store_shrinks_to_a_lower_bound(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded(size=4 * SIZE, expiry_interval=0.01)
    fill(engine, 3 * SIZE)
    assert not evicted
    engine.limit_size(bound_of(SIZE, "size-aware"))
    wait_until(lambda: held(engine) <= SIZE * 1.2)


def test_evictions_are_durable(open_bounded: Open, evicted: list[bytes], kind: str) -> None:
    if kind == "memory":
        pytest.skip("keeps nothing")
    engine = open_bounded()
    fill(engine)
    keys = {key for key, _ in engine.entries()}
    gone = set(evicted)
    engine.close()
    again = open_bounded()
    assert {key for key, _ in again.entries()} == keys
    assert not keys & gone
    assert set(evicted) == gone


def test_what_is_too_large_is_refused(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded()
    do(engine, Store(b"k", b"v"))
    assert do(engine, Store(b"k", b"x" * (SIZE // 16))).problem is Problem.TOO_BIG
    assert do(engine, Get(b"k")).item.value == b"v"
    assert do(engine, Store(b"k", b"x" * (SIZE // 16 - 9000))).problem is None
    assert do(engine, Concat(b"k", b"x" * 10_000)).problem is Problem.TOO_BIG
    assert not evicted


def test_without_eviction_what_does_not_fit_is_refused(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded("none")
    stored = 0
    while do(engine, Store(b"k%05d" % stored, VALUE)).problem is None:
        stored += 1
    assert do(engine, Store(b"k%05d" % stored, VALUE)).problem is Problem.FULL
    assert SIZE * 0.6 < stored * len(VALUE) < SIZE
    assert engine.statistics().items == stored
    # What makes nothing larger goes on.
    assert do(engine, Store(b"k00000", VALUE[::-1])).problem is None
    assert do(engine, Concat(b"k00000", VALUE)).problem is Problem.FULL
    assert do(engine, Get(b"k00000")).item.value == VALUE[::-1]
    # A deletion makes room for as much.
    for number in range(5):
        assert do(engine, Delete(b"k%05d" % number)).problem is None
    for number in range(5):
        assert do(engine, Store(b"n%05d" % number, VALUE)).problem is None
    assert do(engine, Store(b"n", VALUE)).problem is Problem.FULL
    assert do(engine, Flush()).problem is None
    assert do(engine, Store(b"n", VALUE)).problem is None
    assert not evicted


def test_without_eviction_small_deletions_make_room(open_bounded: Open) -> None:
    """Deleting small items makes no page free for a long time, but makes room for others like them."""
    engine = open_bounded("none")
    keys = [b"%08d" % (number * 7919 % 100_003) for number in range(100_000)]
    stored = 0
    while all(
        outcome.problem is None for outcome in engine.execute([Store(key, b"x" * 100) for key in keys[stored : stored + 50]])
    ):
        stored += 50
    (first, *_) = engine.execute([Delete(key) for key in keys[:500]])
    assert first.problem is None
    assert all(outcome.problem is None for outcome in engine.execute([Store(key, b"y" * 100) for key in keys[:450]]))


@pytest.mark.parametrize("policy", ["size-aware", "none"])
def test_a_group_that_is_refused_in_part(open_bounded: Open, policy: str) -> None:
    engine = open_bounded(policy)
    outcomes = engine.execute([Store(b"a", b"1"), Store(b"b", b"x" * SIZE), Store(b"c", b"3"), Get(b"a")])
    assert [outcome.problem for outcome in outcomes] == [None, Problem.TOO_BIG, None, None]


def test_a_bound_that_comes_and_goes(open_bounded: Open, evicted: list[bytes]) -> None:
    engine = open_bounded(size=0)
    fill(engine)
    assert not evicted
    engine.limit_size(bound_of(SIZE, "none"))
    assert do(engine, Store(b"more", VALUE)).problem is Problem.FULL
    engine.limit_size(bound_of(SIZE, "size-aware"))
    assert do(engine, Store(b"more", VALUE)).problem is None
    wait_until(lambda: held(engine) <= SIZE * 1.2)
    engine.limit_size(bound_of(0, "size-aware"))
    do(engine, Get(b"more"))  # what was going on in the background is over
    before = len(evicted)
    fill(engine, 2 * SIZE, b"again")
    assert len(evicted) == before


@pytest.mark.parametrize(("size", "policy"), [(1, "none"), (SIZE - 1, "size-aware"), (SIZE, "lru")])
def test_bounds_that_there_are_not(size: int, policy: str) -> None:
    with pytest.raises(ValueError, match="got"):
        bound_of(size, policy)


def test_a_file_that_is_too_long_is_compacted(open_bounded: Open, evicted: list[bytes], kind: str, tmp_path: Path) -> None:
    engine = open_bounded(size=0)
    fill(engine, 2 * SIZE)
    for number in range(2 * SIZE // len(VALUE)):
        if number % 3:
            do(engine, Delete(b"fill%05d" % number))
    engine.limit_size(bound_of(SIZE, "size-aware"))
    assert engine.wants_compaction == (kind == "lmdb")
    if kind == "memory":
        return
    engine.close()
    again = open_bounded(compact=True)
    assert not again.wants_compaction
    assert again.statistics().disk_bytes <= SIZE * 1.3
    assert again.statistics().items == len(range(0, 2 * SIZE // len(VALUE), 3))
    assert do(again, Get(b"fill00000")).item.value == VALUE
    assert not evicted


def test_what_takes_too_much_by_itself_is_not_compacted(open_bounded: Open, kind: str) -> None:
    engine = open_bounded("none", 3 * SIZE)
    fill(engine, 2 * SIZE)
    engine.limit_size(bound_of(SIZE, "none"))
    assert not engine.wants_compaction


class TestTheFile:
    """The file of LMDB stays within 1.3 times the bound."""

    @pytest.fixture
    def kind(self) -> str:
        return "lmdb"

    def test_with_values_of_many_pages(self, open_bounded: Open) -> None:
        """Among small items, there is soon no room in one piece for a value of a sixteenth of the bound."""
        engine = open_bounded(size=2 * SIZE)
        for number in range(3000):
            value = b"x" * (2 * SIZE // 16 - 9000 if number % 50 == 49 else 300 + number * 37 % 5000)
            assert do(engine, Store(b"%08d" % (number * 7919 % 100_003), value)).problem is None
        assert engine.statistics().disk_bytes <= 2 * SIZE * 1.3

    def test_with_growing_keys(self, open_bounded: Open) -> None:
        """The pages of those that were evicted are not filled by others."""
        engine = open_bounded()
        for number in range(0, 60_000, 16):
            assert engine.execute([Store(b"%08d" % each, b"x" * 100) for each in range(number, number + 16)])[0].problem is None
        assert engine.statistics().disk_bytes <= SIZE * 1.3

    def test_with_snapshots(self, open_bounded: Open) -> None:
        engine = open_bounded()
        snapshots = []
        for number in range(20):
            snapshots.append(engine.snapshot())
            fill(engine, SIZE // 4, b"fill%02d" % number)
        assert engine.statistics().disk_bytes <= SIZE * 1.3
        assert engine.snapshots_ended_for_space >= 15
        assert all(snapshot.ended for snapshot in snapshots[:15])

    def test_with_everysec(self, tmp_path: Path) -> None:
        """What was freed since the last sync can't be used, so a bounded store is synced more often."""
        with open_engine("lmdb", tmp_path / "data", fsync="everysec", bound=bound_of(SIZE, "size-aware")) as engine:
            fill(engine, 3 * SIZE)
            assert engine.statistics().disk_bytes <= SIZE * 1.3

    def test_copies_do_not_make_it_grow(self, open_bounded: Open, tmp_path: Path) -> None:
        engine = open_bounded()
        fill(engine)
        writing = threading.Thread(target=fill, args=(engine, 2 * SIZE, b"meanwhile"))

        def check() -> None:
            if (tmp_path / "copy").exists() and writing.ident is None:
                writing.start()
                wait_until(lambda: engine.storage.length() > SIZE * 1.25)

        with pytest.raises(CopyError, match="outgrown"):
            engine.copy_files(tmp_path / "copy", check)
        writing.join()
        assert engine.statistics().disk_bytes <= SIZE * 1.3
        engine.copy_files(tmp_path / "another", lambda: None)
