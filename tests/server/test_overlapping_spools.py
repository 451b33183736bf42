"""What long commands that overlap hold of their answers: together no more than one that has the connection for itself."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool.mcbp import Feature, Opcode, encode_request

WINDOW = 40_000
# So many may overlap.
JOBS = 4
# The longest fragment: a statistic about a key of 200 bytes.
FRAGMENT = 300
COUNT = 20_000


@pytest.fixture
async def service(run_service):
    async with run_service(window=WINDOW, batch=5000) as served:
        async with served.connect() as raw:
            for start in range(0, COUNT, 1000):
                keys = [b"%0200d" % number for number in range(start, start + 1000)]
                await raw.send(*(encode_request(Opcode.SETQ, key=key, extras=bytes(8)) for key in keys))
                await raw.call(Opcode.NOOP)
        yield served


@pytest.mark.parametrize(("features", "share"), [((), WINDOW), ((Feature.UNORDERED_EXECUTION,), WINDOW // JOBS)])
async def test_what_one_holds(service, features, share: int) -> None:
    async with service.connect() as raw, service.connect() as watcher:
        await raw.hello(Feature.XERROR, *features)
        number = min(await watcher.stat(b"connections"), key=int)
        await raw.send(encode_request(Opcode.STAT, key=b"keys") * JOBS)
        spool: dict[str, int] = {}
        with trio.fail_after(30):
            while spool.get("high_water", 0) < share - FRAGMENT:  # until it waits for us
                await wait_all_tasks_blocked(0.02)
                spool = json.loads((await watcher.stat(b"connections"))[number])["spool"]
        assert spool["high_water"] <= share + FRAGMENT


@pytest.mark.parametrize("features", [(), (Feature.UNORDERED_EXECUTION,)], ids=["ordered", "unordered"])
async def test_what_they_have_done_is_counted(service, features) -> None:
    """For the connection, for all, and also when it has gone."""
    async with service.connect() as watcher:
        before = int((await watcher.stat(b"spool"))[b"fragments"])
        async with service.connect() as raw:
            await raw.hello(Feature.XERROR, *features)
            assert len(await raw.stat(b"keys")) == COUNT
            number = max(await watcher.stat(b"connections"), key=int)
            spool = json.loads((await watcher.stat(b"connections"))[number])["spool"]
            assert (spool["fragments"], spool["turns"] > 0, spool["bytes"] > 200 * COUNT) == (COUNT + 1, True, True)
        with trio.fail_after(20):
            while (await watcher.stat())[b"curr_connections"] != b"1":
                pass
        assert int((await watcher.stat(b"spool"))[b"fragments"]) - before > COUNT
