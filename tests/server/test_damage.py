"""Damaged items, as clients meet them: the requests that need one are refused, and nothing else."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager

import trio

from support.service import run_service
from trio_spool.engine.lmdb._pages import Pages, parse_tree, read_metas
from trio_spool.mcbp import CONTINUE, Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request, unpack_scan

GET, SET = Opcode.GET, Opcode.SET
EXTRAS = bytes(8)


async def create(raw, request: ScanRequest):
    return await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(request))


def continued(identity: bytes, items: int = 0) -> bytes:
    return encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, items, 0, 0))


async def read_continue(raw) -> tuple[int, list]:
    """Read the answer to a continue, and return its status and the documents."""
    documents = []
    while True:
        response = await raw.receive()
        if response.value and response.status in (Status.OK, Status.SCAN_MORE, Status.SCAN_COMPLETE):
            documents += unpack_scan(response.value, keys_only=False)
        if response.status != Status.OK:
            return response.status, documents


def flip(served, key: bytes, byte: int = 29) -> None:
    """Flip a bit of a stored record: of the first byte of its value."""
    storage = served.inside.buckets.default.engine.storage
    key = b"\0" + key
    with storage.env.begin(write=True, db=storage.databases.items) as transaction:
        record = bytearray(transaction.get(key))
        record[byte] ^= 4
        transaction.put(key, bytes(record))


@asynccontextmanager
async def serving(tmp_path, **settings):
    """Serve a hundred items, of which one is damaged."""
    async with run_service(data_dir=tmp_path, fsync="no", scrub_rate=0, **settings) as served, served.connect() as raw:
        for number in range(100):
            await raw.send(encode_request(Opcode.SETQ, key=b"k%02d" % number, value=b"%d" % number, extras=EXTRAS))
        await raw.call(Opcode.NOOP)
        flip(served, b"k50")
        yield served, raw


async def test_reads_are_verified_on_demand(tmp_path, caplog) -> None:
    async with serving(tmp_path, verify_reads=True) as (_, raw):
        opaques = []
        await raw.send(*(encode_request(GET, key=b"k%02d" % number, opaque=number) for number in range(48, 53)))
        for number in range(48, 53):
            reply = await raw.receive()
            opaques.append(reply.opaque)
            assert reply.status == (Status.INTERNAL if number == 50 else 0)
            assert number == 50 or reply.value == b"%d" % number
        assert opaques == [48, 49, 50, 51, 52]
        await raw.send(encode_request(Opcode.GETQ, key=b"k50"), encode_request(Opcode.NOOP))  # a quiet one answers errors
        assert (await raw.receive()).status == Status.INTERNAL
        assert (await raw.receive()).opcode == Opcode.NOOP
        for opcode in (Opcode.GETK, Opcode.GET_META):
            assert (await raw.call(opcode, key=b"k50")).status == Status.INTERNAL
        rows = await raw.stat(b"engine")
        assert int(rows[b"damaged"]) == 4
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert "the record of the key b'\\x00k50' is damaged: its checksum is wrong" in lines[0]


async def test_other_reads_cost_nothing(tmp_path) -> None:
    async with serving(tmp_path) as (_, raw):
        assert (await raw.call(GET, key=b"k50")).value == b"10"  # "50" with a bit flipped


async def test_mutations_of_a_damaged_item(tmp_path) -> None:
    async with serving(tmp_path) as (_, raw):
        await raw.send(
            encode_request(SET, key=b"a", value=b"1", extras=EXTRAS),
            encode_request(Opcode.APPEND, key=b"k50", value=b"x"),
            encode_request(SET, key=b"b", value=b"2", extras=EXTRAS),
            encode_request(Opcode.INCREMENT, key=b"k50", extras=bytes(20)),
            encode_request(GET, key=b"k50"),  # after mutations, it is one operation of them
            encode_request(GET, key=b"k51"),
        )
        statuses = [(await raw.receive()).status for _ in range(6)]
        assert statuses == [0, Status.INTERNAL, 0, Status.INTERNAL, Status.INTERNAL, 0]
        await raw.send(encode_request(SET, key=b"k50", value=b"new", extras=EXTRAS), encode_request(GET, key=b"k50"))
        assert [(await raw.receive()).status, (await raw.receive()).value] == [0, b"new"]


async def test_scans(tmp_path, caplog) -> None:
    async with serving(tmp_path) as (_, raw):
        scan = (await create(raw, ScanRequest())).value
        await raw.send(continued(scan, 10))
        status, documents = await read_continue(raw)
        assert (status, len(documents)) == (Status.SCAN_MORE, 10)
        await raw.send(continued(scan))
        status, documents = await read_continue(raw)
        assert status == Status.INTERNAL
        assert (await create(raw, ScanRequest(start=b"k50"))).status == Status.INTERNAL
        scan = (await create(raw, ScanRequest(start=b"k51"))).value
        await raw.send(continued(scan))
        status, documents = await read_continue(raw)
        assert (status, len(documents)) == (Status.SCAN_COMPLETE, 49)
    assert [record.exc_info for record in caplog.records if record.levelno >= logging.ERROR] == [None]


async def test_snapshots_of_the_files(tmp_path) -> None:
    async with serving(tmp_path) as (_, raw):
        await raw.hello(Feature.XERROR)
        reply = await raw.call(Opcode.PREPARE_SNAPSHOT)
        assert reply.status == Status.INTERNAL
        assert b"is damaged" in reply.value
        await raw.call(Opcode.DELETE, key=b"k50")
        assert (await raw.call(Opcode.PREPARE_SNAPSHOT)).status == 0


async def test_the_scrub(tmp_path, until) -> None:
    async with serving(tmp_path) as (_, raw):
        await raw.call(Opcode.NOOP)
    async with run_service(data_dir=tmp_path, fsync="no") as served, served.connect() as raw:
        engine = served.inside.buckets.default.engine
        await until(lambda: engine.statistics().scrubs)
        rows = await raw.stat(b"engine")
        assert (rows[b"scrubbed"], rows[b"scrubs"], rows[b"damaged"]) == (b"100", b"1", b"1")
        await trio.lowlevel.checkpoint()


async def test_a_damaged_page(tmp_path) -> None:
    """Requests that need it are refused, one by one, and the connection and everything else go on."""
    async with run_service(data_dir=tmp_path, fsync="no", scrub_rate=0) as served, served.connect() as raw:
        for number in range(1000):
            await raw.send(encode_request(Opcode.SETQ, key=b"k%03d" % number, value=b"%03d" % number, extras=EXTRAS))
        await raw.call(Opcode.NOOP)
        with (tmp_path / "data.mdb").open("r+b") as file:
            meta = read_metas(file.fileno())[0]
            pages = Pages(file.fileno(), meta)
            trees = {node.key: parse_tree(node, 0) for leaf in pages.leaves(meta.main) for node in leaf.nodes if node.is_tree}
            leaf = list(pages.leaves(trees[b"items"]))[5]
            file.seek(leaf.page * meta.page_size)
            file.write(bytes(meta.page_size))
        lost, kept = leaf.nodes[0].key[1:], b"k999"
        await raw.send(*(encode_request(GET, key=key) for key in (kept, lost, kept, lost)))
        assert [(await raw.receive()).status for _ in range(4)] == [0, Status.INTERNAL, 0, Status.INTERNAL]
        await raw.send(encode_request(Opcode.STAT, key=b"keys"))
        rows = 0
        while (row := await raw.receive()).key:
            rows += 1
        assert row.status == Status.INTERNAL
        assert rows < 1000
        assert (await raw.call(Opcode.GET_KEYS, key=b"k000", extras=(1000).to_bytes(4, "big"))).status == Status.INTERNAL
        scan = (await create(raw, ScanRequest())).value
        await raw.send(continued(scan))
        assert (await read_continue(raw))[0] == Status.INTERNAL
        assert (await raw.call(Opcode.PREPARE_SNAPSHOT)).status == Status.INTERNAL
        await raw.send(
            encode_request(SET, key=kept, value=b"new", extras=EXTRAS),
            encode_request(SET, key=lost, value=b"new", extras=EXTRAS),
            encode_request(SET, key=b"k998", value=b"new", extras=EXTRAS),
            encode_request(GET, key=kept),
        )
        assert [(await raw.receive()).status for _ in range(4)] == [0, Status.INTERNAL, 0, 0]
        assert int((await raw.stat(b"engine"))[b"damaged"]) >= 6
