"""Buckets with a bound, by the frame: how they get one, what is refused, what is said of it, and what a kill leaves."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from support.process import Process
from support.soaking import Wire
from trio_spool.engine import SMALLEST_BOUND
from trio_spool.mcbp import Feature, Opcode, Status
from trio_spool.server import Settings, SettingsError

EXTRAS = bytes(8)
SIZE = SMALLEST_BOUND
VALUE = b"v" * 20_000


@pytest.fixture(params=["memory", "lmdb"])
def run_bounded(request: pytest.FixtureRequest, run_service: Any, tmp_path: Path) -> Any:
    def run(**options: Any) -> Any:
        if request.param == "lmdb":
            options["data_dir"] = tmp_path / "data"
        return run_service(engine=request.param, fsync="no", **options)

    return run


async def put(raw: Any, key: bytes, value: bytes = VALUE) -> int:
    return (await raw.call(Opcode.SET, key=key, value=value, extras=EXTRAS)).status


async def fill(raw: Any, size: int = 2 * SIZE, prefix: bytes = b"k") -> list[int]:
    return [await put(raw, b"%b%d" % (prefix, number)) for number in range(size // len(VALUE))]


async def stat(raw: Any, group: bytes = b"") -> dict[str, str]:
    await raw.send(b"\x80\x10" + len(group).to_bytes(2, "big") + bytes(4) + len(group).to_bytes(4, "big") + bytes(12) + group)
    rows = {}
    while (reply := await raw.receive()).key:
        rows[reply.key.decode()] = reply.value.decode()
    return rows


async def test_what_is_evicted_is_counted(run_bounded) -> None:
    async with run_bounded(max_size=SIZE) as service, service.connect() as raw:
        assert set(await fill(raw)) == {0}
        general, settings, engine = await stat(raw), await stat(raw, b"settings"), await stat(raw, b"engine")
        assert int(general["evictions"]) == int(engine["evictions"]) > 0
        assert int(general["limit_maxbytes"]) == int(settings["maxbytes"]) == int(engine["max_size"]) == SIZE
        assert settings["evictions"] == "on"
        assert 0.5 * SIZE < int(general["bytes"]) <= 1.2 * SIZE
        assert int(general["curr_items"]) + int(general["evictions"]) == 2 * SIZE // len(VALUE)


async def test_what_does_not_fit_is_refused(run_bounded) -> None:
    async with run_bounded(max_size=SIZE, evict="none") as service, service.connect() as raw:
        statuses = await fill(raw)
        first = statuses.index(Status.NO_MEMORY)
        assert set(statuses[:first]) == {0}
        assert set(statuses[first:]) == {Status.NO_MEMORY}
        reply = await raw.call(Opcode.SET, key=b"another", value=VALUE, extras=EXTRAS)
        assert (reply.status, reply.value) == (Status.NO_MEMORY, b"Out of memory")
        assert (await raw.call(Opcode.DELETE, key=b"k0")).status == 0
        assert await put(raw, b"another") == 0
        assert await put(raw, b"k1", VALUE[::-1]) == 0
        assert (await stat(raw, b"settings"))["evictions"] == "off"
        assert (await stat(raw))["evictions"] == "0"


async def test_a_refused_store_keeps_what_was_there(run_bounded) -> None:
    async with run_bounded(max_size=SIZE, evict="none") as service, service.connect() as raw:
        assert await put(raw, b"k", b"old") == 0
        await fill(raw)
        assert await put(raw, b"k") == Status.NO_MEMORY
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"old"


@pytest.mark.parametrize("classic", [True, False])
async def test_what_is_too_large_for_the_bound(run_bounded, classic: bool) -> None:
    """As with what is too large for the server: a classic client must not read the old value for the new one."""
    async with run_bounded(max_size=SIZE) as service, service.connect() as raw:
        if not classic:
            await raw.hello(Feature.XERROR)
        assert await put(raw, b"k", b"old") == 0
        assert await put(raw, b"k", b"x" * (SIZE // 16)) == Status.TOO_BIG
        assert (await raw.call(Opcode.GET, key=b"k")).status == (Status.NOT_FOUND if classic else 0)
        assert await put(raw, b"k", b"x" * (SIZE // 16 - 8192)) == 0
        assert (await raw.call(Opcode.APPEND, key=b"k", value=b"x" * 10_000)).status == Status.TOO_BIG


async def test_a_bucket_with_a_bound_of_its_own(run_bounded) -> None:
    async with run_bounded(max_size=64 * SIZE) as service, service.connect() as raw:
        config = b"max_size=%d;evict=none" % SIZE
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"small", value=config)).status == 0
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"open", value=b"ep.so\0dbname=x;max_size=0;foo=1")).status == 0
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"same")).status == 0
        expected = {b"small": (SIZE, "off"), b"open": (0, "off"), b"same": (64 * SIZE, "on"), b"default": (64 * SIZE, "on")}
        for name, (size, evictions) in expected.items():
            assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0
            settings = await stat(raw, b"settings")
            assert (settings["maxbytes"], settings["evictions"]) == (str(size), evictions)
        await raw.call(Opcode.SELECT_BUCKET, key=b"small")
        assert Status.NO_MEMORY in await fill(raw)


@pytest.mark.parametrize("config", [b"max_size=1", b"max_size=lots", b"evict=lru", b"max-size=8388608", b"ep.so\0max_size=1"])
async def test_configurations_that_are_refused(run_bounded, config: bytes) -> None:
    async with run_bounded() as service, service.connect() as raw:
        await raw.hello(Feature.XERROR)
        reply = await raw.call(Opcode.CREATE_BUCKET, key=b"small", value=config)
        assert reply.status == Status.INVALID
        assert b"the configuration of a bucket is not valid" in reply.value
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"small")).status == Status.NO_ACCESS


async def test_a_bound_survives_a_restart(run_service, tmp_path: Path) -> None:
    """Buckets with a larger bound than that of the settings lose nothing when they are opened."""
    options = {"data_dir": tmp_path / "data", "fsync": "no"}
    async with run_service(**options) as service, service.connect() as raw:
        for name, size in ((b"large", 8 * SIZE), (b"none", 0)):
            config = b"max_size=%d" % size
            assert (await raw.call(Opcode.CREATE_BUCKET, key=name, value=config)).status == 0
            await raw.call(Opcode.SELECT_BUCKET, key=name)
            assert set(await fill(raw, 3 * SIZE)) == {0}
    async with run_service(**options, max_size=SIZE) as service, service.connect() as raw:
        for name, size in ((b"large", 8 * SIZE), (b"none", 0)):
            await raw.call(Opcode.SELECT_BUCKET, key=name)
            general = await stat(raw)
            assert (general["curr_items"], general["evictions"]) == (str(3 * SIZE // len(VALUE)), "0")
            assert (await stat(raw, b"settings"))["maxbytes"] == str(size)


async def test_a_bound_that_was_lowered_at_a_restart(run_service, tmp_path: Path) -> None:
    options = {"data_dir": tmp_path / "data", "fsync": "no"}
    async with run_service(**options) as service, service.connect() as raw:
        assert set(await fill(raw, 4 * SIZE)) == {0}
    async with run_service(**options, max_size=SIZE) as service, service.connect() as raw:
        with trio.fail_after(60):
            while int((await stat(raw))["bytes"]) > 1.2 * SIZE:
                await trio.sleep(0.01)
        assert int((await stat(raw, b"engine"))["disk_bytes"]) > 2 * SIZE
    # What is free in a file goes back to the disk at a start.
    async with run_service(**options, max_size=SIZE) as service, service.connect() as raw:
        assert int((await stat(raw, b"engine"))["disk_bytes"]) <= 1.3 * SIZE
        assert int((await stat(raw))["curr_items"]) > 0.5 * SIZE / len(VALUE)


async def test_documents_of_a_transaction_stay(run_bounded) -> None:
    """What was staged, and the records of attempts: else an attempt could be committed in part."""
    async with run_bounded(max_size=SIZE) as service, service.connect() as raw:
        await raw.hello(Feature.XATTR)
        staged = b"\xc8\x05\x00\x03\x00\x00\x00\x02txn{}"  # an upsert of an attribute, which is made
        await raw.call(Opcode.SET, key=b"staged", value=b"{}" + b" " * 20_000, extras=EXTRAS)
        assert (await raw.call(Opcode.SUBDOC_MULTI_MUTATION, key=b"staged", value=staged)).status == 0
        assert await put(raw, b"_txn:atr-1-#14") == 0
        attempts = b"\xc8\x05\x00\x08\x00\x00\x00\x02attempts{}"
        assert (await raw.call(Opcode.SUBDOC_MULTI_MUTATION, key=b"_txn:atr-1-#14", value=attempts)).status == 0
        assert await put(raw, b"txn:plain") == 0
        await fill(raw, 6 * SIZE)
        found = [(await raw.call(Opcode.GET, key=key)).status for key in (b"staged", b"_txn:atr-1-#14", b"txn:plain")]
        assert found == [0, 0, Status.NOT_FOUND]


async def test_evictions_are_watched(run_bounded) -> None:
    async with run_bounded(max_size=SIZE) as service, service.connect() as raw:
        watcher = await trio.open_tcp_stream("127.0.0.1", service.port)
        await watcher.send_all(b"watch evictions\r\n")
        assert await watcher.receive_some() == b"OK\r\n"
        await fill(raw)
        with trio.fail_after(30):
            line = (await watcher.receive_some()).splitlines()[0]
        fields = dict(part.split(b"=") for part in line.split())
        assert fields[b"type"] == b"eviction"
        assert fields[b"key"].startswith(b"k")
        assert (fields[b"ttl"], fields[b"size"]) == (b"-1", b"%d" % len(VALUE))
        assert (await raw.call(Opcode.GET, key=fields[b"key"])).status == Status.NOT_FOUND
        await watcher.aclose()


@pytest.mark.parametrize(("options", "said"), [({"max_size": 1}, "4194304 bytes or more"), ({"evict": "lru"}, "size-aware, none")])
def test_settings_that_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(**options)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_kills_undo_no_eviction_and_lose_nothing_else(tmp_path: Path, fsync: str) -> None:
    """What was acknowledged is there, or was evicted; and what a client has missed once stays away until it is stored again."""
    arguments = ("--listen", "tcp://127.0.0.1:0", "--fsync", fsync, "--max-size", str(SIZE), str(tmp_path / "data"))
    chance = random.Random(7)
    stored: dict[bytes, bytes] = {}
    missed: set[bytes] = set()
    evictions = 0
    for turn in range(4):
        server = Process(*arguments)
        with Wire(server.port) as wire:
            present = 0
            for key, value in stored.items():
                reply = wire.call(Opcode.GET, key=key)
                assert reply.status in (Status.OK, Status.NOT_FOUND)
                if reply.status == Status.OK:
                    assert reply.value == value
                    assert key not in missed, "an eviction was undone"
                    present += 1
            # What one transaction may evict beside what it stores is not much.
            assert present * len(VALUE) > SIZE * 0.5 or not turn
            for _ in range(200):
                key = b"k%d" % chance.randrange(1000)
                value = b"%d:" % chance.randrange(1 << 30) + VALUE[: chance.randrange(len(VALUE))]
                assert wire.call(Opcode.SET, key=key, extras=EXTRAS, value=value).status == Status.OK
                stored[key] = value
                missed.discard(key)
            for key in stored:
                if wire.call(Opcode.GET, key=key).status == Status.NOT_FOUND:
                    missed.add(key)
        evictions += len(missed)
        server.stop(signal.SIGKILL)
        server.popen.stdout.close()
        server.popen.stderr.close()
    assert evictions
