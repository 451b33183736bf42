"""What is read of further requests while a long answer waits for its reader: as much as `look_ahead` says, whatever it waits for."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool.mcbp import (
    CONTINUE,
    Feature,
    FragmentRequest,
    Opcode,
    ScanRequest,
    encode_fragment_request,
    encode_request,
    encode_scan_request,
)

LOOK_AHEAD = 1000
# One read brings as much before it is known that a long answer comes.
ONE_READ = 16 * 1024
# What the client goes on to send: 2 MB, which the connection must not hold.
REQUESTS, SIZE = 100, 20_000
EXTRAS = bytes(8)


async def statistics(raw, count: int) -> list[bytes]:
    return [encode_request(Opcode.STAT, key=b"keys")] * count


async def scans(raw, count: int) -> list[bytes]:
    created = [await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest())) for _ in range(count)]
    return [encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(reply.value, 0, 0, 0)) for reply in created]


async def fragments(raw, count: int) -> list[bytes]:
    snapshot = json.loads((await raw.call(Opcode.PREPARE_SNAPSHOT)).value)
    wanted = encode_fragment_request(FragmentRequest(id=1, offset=0, length=int(snapshot["files"][0]["size"])))
    return [encode_request(Opcode.GET_FILE_FRAGMENT, key=snapshot["uuid"].encode(), value=wanted)] * count


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Options of a service that has more to say than what sockets buffer, 4 MB: its data is made once."""
    from trio_spool.engine import Store, open_engine

    directory = tmp_path_factory.mktemp("filled")
    with open_engine("lmdb", directory, fsync="no", space_of=lambda key: key[:1]) as engine:
        for start in range(0, 16_000, 1000):
            engine.execute([Store(b"\0k%0240d" % number, b"v" * 300) for number in range(start, start + 1000)])
    return {"engine": "lmdb", "data_dir": directory, "fsync": "no"}


async def bytes_read(watcher, number: int) -> int:
    """Return what has been read of a connection, once nobody does anything any more."""
    await wait_all_tasks_blocked(0.05)
    return json.loads((await watcher.stat(b"connections"))[b"%d" % number])["bytes_read"]


def further(opaque: int) -> bytes:
    return encode_request(Opcode.SET, key=b"k%0240d" % 1, value=bytes(SIZE), extras=EXTRAS, opaque=opaque)


@pytest.mark.parametrize("long", [statistics, scans, fragments])
@pytest.mark.parametrize("kind", ["ordered", "barrier", "several"])
async def test_it_is_bounded(run_service, filled, long, kind: str) -> None:
    """On an ordered connection; behind a barrier on an unordered one; and where as many as may be are running there."""
    async with (
        run_service(look_ahead=LOOK_AHEAD, window=20_000, **filled) as service,
        service.connect() as raw,
        service.connect() as watcher,
    ):
        if kind != "ordered":
            await raw.hello(Feature.UNORDERED_EXECUTION)
        asked = await long(raw, 5 if kind == "several" else 1)
        if kind == "barrier":
            asked.append(encode_request(Opcode.NOOP))
        await raw.call(Opcode.NOOP)
        before = await bytes_read(watcher, 1)
        await raw.send(*asked)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw.send, *(further(1 + number) for number in range(REQUESTS)))
            with trio.fail_after(30):
                assert await bytes_read(watcher, 1) - before - sum(map(len, asked)) <= LOOK_AHEAD + ONE_READ
                # Nothing of it is lost.
                answered = []
                while len(answered) < REQUESTS:
                    reply = await raw.receive()
                    if reply.opcode == Opcode.SET:
                        answered.append(reply.opaque)
                assert answered == list(range(1, 1 + REQUESTS))
