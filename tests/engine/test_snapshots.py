"""Snapshots: all items at one moment, limited in number and in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.storage import wait_until
from trio_spool.engine import (
    Delete,
    Item,
    Snapshot,
    SnapshotEndedError,
    Store,
    TooManySnapshotsError,
)
from trio_spool.engine._snapshots import SnapshotRegistry


def items_of(snapshot: Snapshot) -> Iterator[tuple[bytes, Item]]:
    return ((key, Item(*rest)) for key, *rest in snapshot.records())


def test_snapshot_is_of_one_moment(make) -> None:
    engine = make()
    engine.execute([Store(b"%03d" % n, b"old") for n in range(1000)])
    with engine.snapshot() as snapshot:
        items = items_of(snapshot)
        first = next(items)
        engine.execute([Store(b"%03d" % n, b"new") for n in range(1000)] + [Delete(b"500"), Store(b"zzz", b"new")])
        assert [first, *items] == list(items_of(snapshot))
        assert len(list(items_of(snapshot))) == 1000
        assert all(item.value == b"old" for _, item in items_of(snapshot))
        assert [key for key, *_ in snapshot.records(b"100", b"103")] == [b"100", b"101", b"102"]
        assert snapshot.seqno == 1000
        assert engine.statistics().snapshots == 1
    assert engine.statistics().snapshots == 0


def test_snapshot_of_keys_only(make) -> None:
    engine = make()
    engine.execute([Store(b"%03d" % n, b"value") for n in range(1000)])
    with engine.snapshot(keys_only=True) as snapshot:
        records = list(snapshot.records(b"100", b"900"))
        assert [key for key, *_ in records] == [b"%03d" % n for n in range(100, 900)]
        assert all(type(key) is bytes and not value for key, value, *_ in records)


@pytest.mark.parametrize("keys_only", [False, True])
def test_snapshot_leaves_out_what_has_expired(make, clock, keys_only: bool) -> None:
    engine = make(clock=clock, expiry_interval=3600)
    engine.execute([Store(b"%d" % n, b"v", expiry=1005 * (n % 2)) for n in range(10)])
    before = engine.snapshot(keys_only=keys_only)
    clock.now = 1005.0
    with engine.snapshot(keys_only=keys_only) as after:
        assert [key for key, *_ in after.records()] == [b"%d" % n for n in range(0, 10, 2)]
    assert len(list(before.records())) == 10  # it is of the moment at which it was taken
    before.close()


def test_closed_snapshot_ends_its_generators(make) -> None:
    engine = make()
    engine.execute([Store(b"%04d" % n, b"v" * 1000) for n in range(3000)])
    snapshot = engine.snapshot()
    items = items_of(snapshot)
    next(items)
    snapshot.close()
    snapshot.close()
    with pytest.raises(SnapshotEndedError):
        list(items)


def test_snapshots_are_limited_in_number(make) -> None:
    engine = make(max_snapshots=2)
    first, _second = engine.snapshot(), engine.snapshot()
    with pytest.raises(TooManySnapshotsError, match="limit of 2 open snapshots"):
        engine.snapshot()
    first.close()
    engine.snapshot().close()


def test_snapshots_are_limited_in_time(make) -> None:
    engine = make(max_snapshot_life=0.01, expiry_interval=0.01)
    engine.execute([Store(b"k", b"v")])
    snapshot = engine.snapshot()
    wait_until(lambda: engine.statistics().snapshots_ended)
    with pytest.raises(SnapshotEndedError):
        list(items_of(snapshot))
    assert engine.statistics().snapshots_ended == 1
    assert engine.statistics().snapshots == 0


def test_registry_ends_what_is_old_and_nothing_else(clock) -> None:
    class Fake(Snapshot):
        seqno = count = 0

        def __init__(self) -> None:
            self.closed = False

        def read(self, *arguments, **options):
            raise NotImplementedError

        def close(self) -> None:
            self.closed = True
            registry.discard(self)

    registry = SnapshotRegistry(2, 10.0, clock)
    first = Fake()
    registry.add(first)
    clock.now += 5
    second = Fake()
    registry.add(second)
    with pytest.raises(TooManySnapshotsError, match="limit of 2 open snapshots"):
        registry.check_room()
    clock.now += 4.5
    registry.end_old()
    assert (first.closed, second.closed, len(registry), registry.ended) == (False, False, 2, 0)
    clock.now += 0.5
    registry.end_old()
    assert (first.closed, second.closed, len(registry), registry.ended) == (True, False, 1, 1)
    registry.check_room()
    registry.end_all()
    assert (second.closed, len(registry), registry.ended) == (True, 0, 1)
