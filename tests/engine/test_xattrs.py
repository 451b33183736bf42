"""Extended attributes: what keeps them, what ends them, and how they are read."""

from __future__ import annotations

import pytest

from trio_spool.engine import (
    EXTENDED,
    RECORD_OVERHEAD,
    Arithmetic,
    Concat,
    Delete,
    Edit,
    Entry,
    Flush,
    Get,
    Item,
    Lock,
    Remove,
    Step,
    StepKind,
    Store,
    StoreMode,
    Touch,
    split_extended,
)
from trio_spool.engine._reading import pack_extended

XATTRS = b'{"x":{"y":1}}'
ADD = Edit(b"k", (Step(StepKind.UPSERT, b"x.y", b"1", create=True, xattr=True),))


def item_of(engine) -> Item | None:
    return engine.execute([Get(b"k")])[0].item


@pytest.fixture
def extended(engine):
    """An engine with the item 5 that has attributes."""
    engine.execute([Store(b"k", b"5", 7, 5000, 1), ADD])
    assert item_of(engine)[:4] == (b"5", 7, 5000, 1)
    assert item_of(engine).xattrs == XATTRS
    return engine


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        (Store(b"k", b"new"), b"new"),
        (Store(b"k", b"", mode=StoreMode.REPLACE), b""),
        (Store(b"k", b"new", keep_expiry=True), b"new"),
        (Concat(b"k", b"6"), b"56"),
        (Concat(b"k", b"6", prepend=True), b"65"),
        (Arithmetic(b"k", 5), b"10"),
        (Touch(b"k", 6000), b"5"),
        (Lock(b"k", 5), b"5"),
        (Edit(b"k", (Step(StepKind.SET_DOCUMENT, b"", b"{}"),)), b"{}"),
        (Edit(b"k", ()), b"5"),
    ],
)
def test_what_keeps_them(extended, operation, value: bytes) -> None:
    (outcome,) = extended.execute([operation])
    item = item_of(extended)
    assert (item.value, item.xattrs) == (value, XATTRS)
    assert (item.cas, item.seqno) == (outcome.cas, outcome.seqno)
    if outcome.item is not None:
        assert outcome.item == item


@pytest.mark.parametrize("operation", [Delete(b"k"), Flush(), Remove(b""), Edit(b"k", (Step(StepKind.REMOVE_DOCUMENT),))])
@pytest.mark.parametrize(
    "restore",
    [Store(b"k", b"5"), Arithmetic(b"k", 1, initial=5), Edit(b"k", (Step(StepKind.SET_DOCUMENT, b"", b"5"),), create=True)],
)
@pytest.mark.parametrize("together", [False, True])
def test_what_ends_them(extended, operation, restore, together: bool) -> None:
    if together:
        extended.execute([operation, restore])
    else:
        extended.execute([operation])
        assert item_of(extended) is None
        extended.execute([restore])
    assert (item_of(extended).value, item_of(extended).xattrs) == (b"5", b"")


def test_expiry_ends_them(extended, clock) -> None:
    clock.now = 5000
    extended.execute([Store(b"k", b"new")])
    assert item_of(extended).xattrs == b""


# Expiry that is kept


@pytest.mark.parametrize(("keep", "expected"), [(True, 5000), (False, 6000)])
@pytest.mark.parametrize("mode", [StoreMode.SET, StoreMode.REPLACE])
def test_keep_expiry(extended, keep: bool, expected: int, mode: StoreMode) -> None:
    extended.execute([Store(b"k", b"new", 8, 6000, 2, mode, keep_expiry=keep)])
    assert item_of(extended)[:4] == (b"new", 8, expected, 2)


def test_keep_expiry_where_there_is_none(engine, clock) -> None:
    engine.execute([Store(b"k", b"v", expiry=6000, keep_expiry=True)])
    assert item_of(engine).expiry == 6000
    engine.execute([Store(b"k", b"v"), Store(b"k", b"w", expiry=6000, keep_expiry=True)])
    assert item_of(engine).expiry == 0
    engine.execute([Store(b"k", b"v", expiry=1005)])
    clock.now = 1005
    engine.execute([Store(b"k", b"w", expiry=6000, keep_expiry=True)])  # there is none any more
    assert item_of(engine).expiry == 6000


# Reading


@pytest.fixture
def mixed(engine):
    """An engine with one item that has attributes between two that have none, and each item as it must be."""
    outcomes = engine.execute([Store(b"a", b"plain", 1, 0, 2), Store(b"k", b"value" * 20, 3, 5000, 5), ADD, Store(b"z", b"")])
    a, _, k, z = outcomes
    return engine, {
        b"a": Item(b"plain", 1, 0, 2, a.cas, a.seqno),
        b"k": Item(b"value" * 20, 3, 5000, 5, k.cas, k.seqno, XATTRS),
        b"z": Item(b"", 0, 0, 0, z.cas, z.seqno),
    }


def test_readers(mixed) -> None:
    engine, items = mixed
    reader = engine.open_reader()
    keys = [b"a", b"k", b"none", b"z"]
    assert [reader.get(key) for key in keys] == [items.get(key) for key in keys]
    assert reader.get_many(keys, 10_000) == [items[key].shown() if key in items else None for key in keys]
    assert reader.get_many([b"k", b"z"], 50) == [items[b"k"].shown()]
    reader.release()


def test_snapshots_without_them(mixed) -> None:
    engine, items = mixed
    with engine.snapshot() as snapshot:
        assert list(snapshot.records()) == [(key, *item[:6]) for key, item in items.items()]
        assert list(snapshot.records(b"b", b"l")) == [(b"k", *items[b"k"][:6])]


def test_snapshots_with_them(mixed) -> None:
    engine, items = mixed
    with engine.snapshot(xattrs=True) as snapshot:
        records = list(snapshot.records())
    assert records[0] == (b"a", *items[b"a"][:6])
    assert records[2] == (b"z", *items[b"z"][:6])
    key, packed, flags, expiry, datatype, cas, seqno = records[1]
    assert datatype == 5 | EXTENDED
    xattrs, value = split_extended(packed)
    assert (key, Item(value, flags, expiry, datatype & ~EXTENDED, cas, seqno, xattrs)) == (b"k", items[b"k"])


@pytest.mark.parametrize("xattrs", [False, True])
def test_snapshots_of_keys_only(mixed, xattrs: bool) -> None:
    engine, items = mixed
    with engine.snapshot(keys_only=True, xattrs=xattrs) as snapshot:
        assert list(snapshot.records()) == [(key, b"", *item[1:6]) for key, item in items.items()]


@pytest.mark.parametrize("how", [{}, {"xattrs": True}, {"keys_only": True}], ids=str)
def test_sizes_of_chunks(mixed, how: dict[str, bool]) -> None:
    engine, _ = mixed
    with engine.snapshot(**how) as snapshot:
        chunk = snapshot.read(b"", None, max_records=10, max_bytes=10_000)
        assert chunk.following is None
        assert chunk.size == sum(len(record[0]) + len(record[1]) + RECORD_OVERHEAD for record in chunk.records)
        first = snapshot.read(b"", None, max_records=10, max_bytes=len(b"k") + RECORD_OVERHEAD)
        assert (len(first.records), first.following) == (1, b"k")


def test_entries(mixed) -> None:
    engine, items = mixed
    assert list(engine.entries()) == [(key, Entry(len(item.value), *item[1:6])) for key, item in items.items()]


def test_restart(make_lmdb, options) -> None:
    engine = make_lmdb(**options)
    engine.execute([Store(b"k", b"5", 7, 5000, 0x3F), ADD])
    item = item_of(engine)
    engine.close()
    engine = make_lmdb(**options)
    assert item_of(engine) == item == engine.open_reader().get(b"k")
    assert (item.datatype, item.xattrs) == (0x3F, XATTRS)


@pytest.mark.parametrize("value", [b"", b"v", bytes(range(256))])
@pytest.mark.parametrize("xattrs", [b"", b"{}", XATTRS])
@pytest.mark.parametrize("front", [b"", b"front"])
def test_packing(value: bytes, xattrs: bytes, front: bytes) -> None:
    packed = front + pack_extended(xattrs, value)
    assert len(packed) == len(front) + 4 + len(xattrs) + len(value)
    assert split_extended(packed, len(front)) == (xattrs, value)
    assert split_extended(memoryview(packed), len(front)) == (xattrs, value)
