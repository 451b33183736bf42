"""Dropping collections: what is in them goes in the background; and values that are too big for where they are to go."""

from __future__ import annotations

import logging

import pytest
import trio

from trio_spool._formats import Collection, Scope, decode_leb128
from trio_spool.engine import Remove
from trio_spool.mcbp import Feature, Opcode, ScanRequest, Status, encode_leb128, encode_request, encode_scan_request
from trio_spool.server.data import Manifest
from trio_spool.server.shared import ContinueLimits, Ending, Tuning

EXTRAS = bytes(8)
DEFAULT = Manifest().scopes
ORDERS, STOCK = Collection(8, "orders"), Collection(300, "stock")

# Nothing is removed in the background, only when the test says so.
NEVER = {"tuning": Tuning(housekeeping=1e6, sweep=10)}


def manifest(uid: int, *collections: Collection) -> bytes:
    return Manifest(uid, (*DEFAULT, Scope(8, "shop", collections))).to_json()


def key_in(collection: int, key: bytes) -> bytes:
    return encode_leb128(collection) + key


async def set_manifest(raw, value: bytes) -> int:
    return (await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=value)).status


async def fill(raw, collection: int, count: int = 35) -> None:
    frames = [encode_request(Opcode.SETQ, key=key_in(collection, b"%d" % n), value=b"v", extras=EXTRAS) for n in range(count)]
    await raw.send(*frames)
    assert (await raw.call(Opcode.NOOP)).status == 0


def items(service) -> dict[int, int]:
    spaces = service.inside.buckets.default.engine.spaces
    return {decode_leb128(space)[0]: held.items for space, held in spaces.items()}


@pytest.fixture(params=["memory", "lmdb"])
def options(request, tmp_path) -> dict:
    options = {"engine": request.param, "fsync": "no", "max_item_size": 1000, "tuning": Tuning(sweep=10)}
    return options | ({"data_dir": tmp_path / "data"} if request.param == "lmdb" else {})


@pytest.fixture
async def service(run_service, options):
    async with run_service(**options) as served:
        yield served


@pytest.fixture
async def named(service, raw):
    await raw.hello(Feature.COLLECTIONS)
    assert await set_manifest(raw, manifest(1, ORDERS, STOCK)) == 0
    for collection in (0, 8, 300):
        await fill(raw, collection)
    return raw


async def test_what_was_in_it_goes(service, named, until) -> None:
    assert items(service) == {0: 35, 8: 35, 300: 35}
    assert await set_manifest(named, manifest(2, STOCK)) == 0
    for opcode in (Opcode.GET, Opcode.SET):
        await named.send(named.plain_frame(opcode, key=key_in(8, b"1")))
        assert (await named.receive()).status == Status.UNKNOWN_COLLECTION
    assert (await named.call(Opcode.GET_COLLECTION_ID, value=b"shop.orders")).status == Status.UNKNOWN_COLLECTION
    assert (await named.call(Opcode.STAT, key=b"collections shop.orders")).status == Status.NOT_FOUND
    await until(lambda: items(service) == {0: 35, 300: 35})
    assert (await named.call(Opcode.GET, key=key_in(300, b"1"))).status == 0
    # With its scope.
    assert await set_manifest(named, Manifest(3, DEFAULT).to_json()) == 0
    assert (await named.call(Opcode.GET_SCOPE_ID, value=b"shop")).status == Status.UNKNOWN_SCOPE
    await until(lambda: items(service) == {0: 35})


async def test_what_was_in_it_does_not_come_back(run_service, options) -> None:
    async with run_service(**options | NEVER) as service, service.connect() as raw:
        await raw.hello(Feature.COLLECTIONS)
        assert await set_manifest(raw, manifest(1, ORDERS)) == 0
        await fill(raw, 8)
        assert await set_manifest(raw, manifest(2)) == 0
        for collection in (ORDERS, Collection(8, "returns")):
            assert await set_manifest(raw, manifest(3, collection)) == Status.TEMPORARY_FAILURE
        await service.inside.buckets.default.sweep(10)
        assert items(service) == {}
        assert await set_manifest(raw, manifest(3, Collection(8, "returns"))) == 0
        assert (await raw.call(Opcode.GET, key=key_in(8, b"1"))).status == Status.NOT_FOUND


# Scans


async def open_scan(raw, collection: int) -> bytes:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(collection=collection)))
    assert reply.status == 0
    return reply.value


async def go_on(raw, scan: bytes, items: int = 5) -> int:
    await raw.send(encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=scan + items.to_bytes(4, "big") + bytes(8)))
    while (reply := await raw.receive()).status == 0:
        pass
    return reply.status


async def test_a_scan_of_it_ends(service, named) -> None:
    begun, new, other = [await open_scan(named, number) for number in (8, 8, 300)]
    assert await go_on(named, begun) == Status.SCAN_MORE
    assert await set_manifest(named, manifest(2, STOCK)) == 0
    assert [await go_on(named, scan) for scan in (begun, new)] == [Status.UNKNOWN_COLLECTION] * 2
    assert await go_on(named, other) == Status.SCAN_MORE
    # It has ended with that.
    assert await go_on(named, begun) == Status.NOT_FOUND
    assert len(list(service.inside.scans)) == 1


async def test_a_scan_of_it_does_not_go_on_in_another_one_of_its_id(service, named, until) -> None:
    scan = await open_scan(named, 8)
    assert await set_manifest(named, manifest(2, STOCK)) == 0
    await until(lambda: 8 not in items(service))
    assert await set_manifest(named, manifest(3, STOCK, ORDERS)) == 0
    await fill(named, 8)
    assert await go_on(named, scan) == Status.UNKNOWN_COLLECTION


async def test_a_change_of_its_limit_ends_no_scan(named) -> None:
    scan = await open_scan(named, 8)
    assert await set_manifest(named, manifest(2, Collection(8, "orders", 1000), STOCK)) == 0
    assert await go_on(named, scan) == Status.SCAN_MORE


async def test_a_continue_that_runs_is_told(service, named) -> None:
    scan_id = await open_scan(named, 8)
    (scan,) = service.inside.scans
    with service.inside.scans.continuing(scan, 1, ContinueLimits(), lambda records, skip: [b"data"] * len(records)) as continue_:
        assert await set_manifest(named, manifest(2, STOCK)) == 0
        assert await trio.to_thread.run_sync(continue_.next_in_thread) == []
        assert continue_.ending is Ending.DROPPED
    assert await go_on(named, scan_id) == Status.NOT_FOUND


async def test_a_collection_that_is_made_while_one_of_its_id_is_being_removed_loses_nothing(
    run_service, options, monkeypatch
) -> None:
    async with run_service(**options | NEVER) as service, service.connect() as raw:
        await raw.hello(Feature.COLLECTIONS)
        assert await set_manifest(raw, manifest(1, ORDERS)) == 0
        await fill(raw, 8, 10)
        assert await set_manifest(raw, manifest(2)) == 0
        bucket = service.inside.buckets.default
        original = bucket.operate

        async def operate(operations, spent=None):
            outcomes = await original(operations, spent)
            if isinstance(operations[0], Remove):
                assert await set_manifest(raw, manifest(3, ORDERS)) == 0
                await fill(raw, 8, 5)
            return outcomes

        monkeypatch.setattr(bucket, "operate", operate)
        await bucket.sweep(10)
        assert items(service) == {8: 5}


async def test_a_restart_in_the_middle(run_service, tmp_path, until) -> None:
    options = {"engine": "lmdb", "data_dir": tmp_path / "data", "fsync": "no"}
    async with run_service(**options | NEVER) as service, service.connect() as raw:
        await raw.hello(Feature.COLLECTIONS)
        assert await set_manifest(raw, manifest(1, ORDERS, STOCK)) == 0
        await fill(raw, 8)
        await fill(raw, 300)
        assert await set_manifest(raw, manifest(2, STOCK)) == 0
        await service.inside.buckets.default.operate([Remove(encode_leb128(8), 10)])
        assert items(service) == {8: 25, 300: 35}
    async with run_service(**options) as service, service.connect() as raw:
        await raw.hello(Feature.COLLECTIONS)
        assert (await raw.call(Opcode.GET, key=key_in(8, b"1"))).status == Status.UNKNOWN_COLLECTION
        await until(lambda: items(service) == {300: 35})
        assert (await raw.call(Opcode.GET, key=key_in(300, b"1"))).value == b"v"


# Values that are too big


async def test_too_big_for_a_collection(named) -> None:
    assert (await named.call(Opcode.SET, key=key_in(8, b"1"), value=bytes(1001), extras=EXTRAS)).status == Status.TOO_BIG
    for collection in (0, 8, 300):  # only in classic sessions the old value goes
        assert (await named.call(Opcode.GET, key=key_in(collection, b"1"))).status == 0
    # The id may be longer than it needs to be.
    assert (await named.call(Opcode.SET, key=b"\x88\0" + b"2", value=bytes(1001), extras=EXTRAS)).status == Status.TOO_BIG
    assert (await named.call(Opcode.GET, key=key_in(8, b"2"))).status == 0


@pytest.mark.parametrize("key", [b"\x88", b"\xff\xff\xff\xff\xff\xff", b"\x08", b"\x08" + b"k" * 251])
async def test_too_big_for_a_key_that_is_none(named, caplog, key: bytes) -> None:
    with caplog.at_level(logging.ERROR):
        assert (await named.call(Opcode.SET, key=key, value=bytes(1001), extras=EXTRAS)).status == Status.INVALID
        assert (await named.call(Opcode.NOOP)).status == 0
    assert not caplog.records


async def test_too_big_for_a_collection_that_is_not_there(named) -> None:
    assert (await named.call(Opcode.SET, key=key_in(9, b"k"), value=bytes(1001), extras=EXTRAS)).status == Status.TOO_BIG
    assert (await named.call(Opcode.NOOP)).status == 0
