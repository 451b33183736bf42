"""Many requests with large replies, in one pipeline, from a client that reads nothing: what is queued for it has a bound."""

from __future__ import annotations

import json
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from trio_spool.mcbp import Opcode, encode_request

EXTRAS = bytes(8)
WINDOW = 50_000
# Replies are queued when there is this much of them.
EXCHANGE = 256 * 1024
# Documents of which a look-up is made at once are no larger than 64 KiB.
SIZE = 60_000
DOCUMENT = b'{"a":"%s"}' % (b"x" * SIZE)
# The window, what one exchange has when it ends, and the reply that ended it.
BOUND = WINDOW + EXCHANGE + SIZE + 1000
KEYS = [b"k%03d" % number for number in range(300)]


def each(opcode: int, **kwargs) -> list[bytes]:
    return [encode_request(opcode, key=key, **kwargs) for key in KEYS]


def path(opcode: int, path: bytes, key: bytes = KEYS[0]) -> bytes:
    return encode_request(opcode, key=key, extras=struct.pack(">HB", len(path), 0), value=path)


SET = encode_request(Opcode.SETQ, key=b"other", extras=EXTRAS)
SET_LARGE = encode_request(Opcode.SETQ, key=b"new", value=DOCUMENT, extras=EXTRAS)
APPEND_LARGE = encode_request(Opcode.APPENDQ, key=b"small", value=DOCUMENT)
EDIT_LARGE = encode_request(
    Opcode.SUBDOC_DICT_UPSERT, key=b"small", extras=struct.pack(">HB", 1, 0), value=b'b"%s"' % (b"x" * SIZE)
)
GET_NEW = encode_request(Opcode.GET, key=b"new")
LOOK_UP = path(Opcode.SUBDOC_GET, b"a")
LOOK_UP_SEVERAL = encode_request(Opcode.SUBDOC_MULTI_LOOKUP, key=KEYS[0], value=struct.pack(">BBH", Opcode.SUBDOC_GET, 0, 1) + b"a")
PIPELINES = {
    "a run of GETs": each(Opcode.GET),
    "a run of GETs of the same": each(Opcode.GET)[:1] * 300,
    "misses between": [frame for get in each(Opcode.GET) for frame in (get, encode_request(Opcode.GET, key=b"none:%d" % len(get)))],
    "GETQ": each(Opcode.GETQ),
    "GETK": each(Opcode.GETK),
    "GETKQ": each(Opcode.GETKQ),
    "GAT": each(Opcode.GAT, extras=bytes(4)),
    "GATQ": each(Opcode.GATQ, extras=bytes(4)),
    "GATK": each(Opcode.GATK, extras=bytes(4)),
    "GET_LOCKED": each(Opcode.GET_LOCKED),
    "look-ups": [LOOK_UP] * 300,
    "look-ups of several paths": [LOOK_UP_SEVERAL] * 300,
    "GETs behind a change": [SET, *each(Opcode.GET)],
    "GETKs behind a change": [SET, *each(Opcode.GETK)],
    "look-ups behind a change": [SET, *[LOOK_UP] * 300],
    "look-ups of several paths behind a change": [SET, *[LOOK_UP_SEVERAL] * 300],
    "GETs of what is stored just before": [SET_LARGE, *[GET_NEW] * 300],
    "GATs of what is stored just before": [SET_LARGE, *[encode_request(Opcode.GAT, key=b"new", extras=bytes(4))] * 300],
    "look-ups in what is stored just before": [SET_LARGE, *[path(Opcode.SUBDOC_GET, b"a", b"new")] * 300],
    "GETs of what is appended to just before": [APPEND_LARGE, *[encode_request(Opcode.GET, key=b"small")] * 300],
    "GETs of what is edited just before": [EDIT_LARGE, *[encode_request(Opcode.GET, key=b"small")] * 300],
    "GETs and changes in turn": [frame for get in each(Opcode.GET) for frame in (get, SET)],
}
assert all(
    len(b"".join(frames)) - SIZE < 16 * 1024 for frames in PIPELINES.values() if frames[0] in (SET_LARGE, APPEND_LARGE, EDIT_LARGE)
)


@pytest.fixture(params=[True, False], ids=["local", "remote"])
async def service(request, run_service):
    engine = Hooks(local=request.param).kind()
    async with run_service(engine=engine, window=WINDOW, batch=20_000, max_item_size=100_000) as served:
        async with served.connect() as raw:
            await raw.call(Opcode.SET, key=b"small", value=b"{}", extras=EXTRAS)
            for key in KEYS:
                await raw.send(encode_request(Opcode.SETQ, key=key, value=DOCUMENT, extras=EXTRAS))
            await raw.call(Opcode.NOOP)
        yield served


@pytest.mark.parametrize("kind", PIPELINES)
async def test_it_is_bounded(service, kind: str) -> None:
    async with service.connect() as raw, service.connect() as watcher:
        await raw.send(SET * 5, encode_request(Opcode.GET, key=b"other"))  # a turn before it, which must not matter
        await raw.receive()
        number = min(await watcher.stat(b"connections"), key=int)
        with trio.fail_after(30):
            await raw.send(*PIPELINES[kind])
            queued = 0
            while queued < WINDOW:  # until it waits for us
                await wait_all_tasks_blocked(0.02)
                row = json.loads((await watcher.stat(b"connections"))[number])
                queued = row["queued"]
            assert row["high_water"] <= BOUND


async def test_what_has_been_carried_out_does_not_count_again(run_service) -> None:
    """Or a connection that has changed much would have each of its reads carried out by itself."""
    pair = encode_request(Opcode.SETQ, key=b"new", value=bytes(1000), extras=EXTRAS) + encode_request(Opcode.GET, key=b"new")
    async with run_service() as service, service.connect() as raw, service.connect() as watcher:
        for _ in range(EXCHANGE // 1000 + 10):
            await raw.send(pair)
            assert (await raw.receive()).status == 0
        before = int((await watcher.stat(b"engine"))[b"commits"])
        await raw.send(pair * 8)
        for _ in range(8):
            assert (await raw.receive()).status == 0
        assert int((await watcher.stat(b"engine"))[b"commits"]) - before <= 2
