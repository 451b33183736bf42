"""How long a snapshot of the files is kept: while it is made, while it is read, and for a while after anybody has asked for it."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.clocks import Clock
from trio_spool.mcbp import FragmentRequest, Opcode, Status, encode_fragment_request, encode_request
from trio_spool.server.shared import Tuning
from trio_spool.server.shared._file_snapshots import PATIENCE

IDLE = 10.0


class CountingClock(Clock):
    """A clock that counts how often it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return super().__call__()

    async def wait_looked_at(self) -> None:
        """Wait until all that is too old has been removed."""
        looks = self.looks
        with trio.fail_after(20):
            while self.looks < looks + 6:  # three rounds, each of scans and snapshots
                await trio.sleep(0.005)


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock()


@pytest.fixture
async def service(run_service, clock, tmp_path):
    tuning = Tuning(clock=clock, housekeeping=0.01)
    async with run_service(data_dir=tmp_path / "data", fsync="no", snapshot_idle=IDLE, tuning=tuning, drain_timeout=1) as served:
        yield served


async def prepare(raw) -> tuple[str, int]:
    """Make a snapshot; return its uuid and the size of its file."""
    reply = await raw.call(Opcode.PREPARE_SNAPSHOT)
    assert reply.status == 0
    snapshot = json.loads(reply.value)
    return snapshot["uuid"], int(snapshot["files"][0]["size"])


def fragment(uuid: str, length: int) -> bytes:
    wanted = FragmentRequest(id=1, offset=0, length=length)
    return encode_request(Opcode.GET_FILE_FRAGMENT, key=uuid.encode(), value=encode_fragment_request(wanted))


async def kept(watcher) -> list[str]:
    return [name.decode() for name in await watcher.stat(b"snapshots") if len(name) == 36]


async def wait_state(watcher, uuid: str, state: str) -> None:
    with trio.fail_after(20):
        while json.loads((await watcher.stat(b"snapshots"))[uuid.encode()])["state"] != state:
            pass


async def test_one_that_nobody_asks_for_is_removed(service, raw, clock, tmp_path) -> None:
    uuid, _ = await prepare(raw)
    clock.now += IDLE - 0.1
    await clock.wait_looked_at()
    assert await kept(raw) == [uuid]
    clock.now += 0.2
    await clock.wait_looked_at()
    assert await kept(raw) == []
    assert (await raw.call(Opcode.RELEASE_SNAPSHOT, key=uuid.encode())).status == Status.NOT_FOUND
    with trio.fail_after(20):
        while any((tmp_path / "data" / "snapshots").iterdir()):
            await trio.sleep(0.01)


async def test_whoever_asks_for_a_piece_keeps_it(service, raw, clock) -> None:
    uuid, size = await prepare(raw)
    for length, status in ((100, 0), (size + 1, Status.INVALID), (100, 0), (size + 1, Status.INVALID)):
        clock.now += IDLE - 0.1
        await clock.wait_looked_at()
        await raw.send(fragment(uuid, length))
        assert (await raw.receive()).status == status
        await wait_state(raw, uuid, "ready")
    assert await kept(raw) == [uuid]


async def test_it_is_kept_while_it_is_made(service, raw, clock) -> None:
    """And it is young when it is there, however long that took."""
    copiers = service.inside.copiers
    holders = [object() for _ in range(int(copiers.total_tokens))]
    for holder in holders:
        copiers.acquire_on_behalf_of_nowait(holder)
    async with service.connect() as other:
        await raw.send(encode_request(Opcode.PREPARE_SNAPSHOT))
        await wait_all_tasks_blocked()
        (uuid,) = await kept(other)
        clock.now += 2 * IDLE
        await clock.wait_looked_at()
        assert await kept(other) == [uuid]
        # It does not exist yet for those who know its name.
        assert (await other.call(Opcode.RELEASE_SNAPSHOT, key=uuid.encode())).status == Status.NOT_FOUND
        await other.send(fragment(uuid, 0))
        assert (await other.receive()).status == Status.NOT_FOUND
        for holder in holders:
            copiers.release_on_behalf_of(holder)
        with trio.fail_after(20):
            assert json.loads((await raw.receive()).value)["uuid"] == uuid
        await clock.wait_looked_at()
        assert await kept(other) == [uuid]


async def test_it_is_kept_while_it_is_read(service, raw, clock) -> None:
    """And for as long as ever after that."""
    for number in range(200):
        value = bytes(50_000) + b"%d" % number
        await raw.send(encode_request(Opcode.SETQ, key=b"k%d" % number, value=value, extras=bytes(8)))
    await raw.call(Opcode.NOOP)
    uuid, size = await prepare(raw)
    async with service.connect() as other:
        await other.send(fragment(uuid, size))  # 10 MB, of which the system takes less
        await wait_state(raw, uuid, "sending")
        clock.now += 2 * IDLE
        await clock.wait_looked_at()
        assert await kept(raw) == [uuid]
        with trio.fail_after(20):
            reply = await other.receive()
        assert (reply.status, len(reply.value)) == (0, size)
        await wait_state(raw, uuid, "ready")  # the client may have it before the service knows
        clock.now += IDLE - 0.1
        await clock.wait_looked_at()
        assert await kept(raw) == [uuid]
        clock.now += 0.2
        await clock.wait_looked_at()
        assert await kept(raw) == []


# Places


@pytest.fixture
async def two_places(run_service, clock, tmp_path):
    tuning = Tuning(clock=clock, housekeeping=0.01)
    options = {"data_dir": tmp_path / "data", "fsync": "no", "max_snapshots": 2, "tuning": tuning, "drain_timeout": 1}
    async with run_service(**options) as served:
        yield served


async def gone(service, number: int) -> None:
    with trio.fail_after(20):
        while len(service.inside.connections) > number:
            await trio.sleep(0.001)


async def test_those_of_clients_that_have_left_give_way(two_places, tmp_path) -> None:
    left = []
    for _ in range(2):
        async with two_places.connect() as raw:
            left.append((await prepare(raw))[0])
    await gone(two_places, 0)
    async with two_places.connect() as raw:
        described = await raw.stat(b"snapshots")
        assert [json.loads(described[uuid.encode()])["connection"] for uuid in left] == [0, 0]
        new, _ = await prepare(raw)
        assert sorted(await kept(raw)) == sorted([left[1], new])
        assert not (tmp_path / "data" / "snapshots" / left[0]).exists()


async def test_one_that_goes_on_being_read_by_another_connection_does_not(two_places) -> None:
    async with two_places.connect() as raw:
        uuid, size = await prepare(raw)
    await gone(two_places, 0)
    async with two_places.connect() as again, two_places.connect() as other, two_places.connect() as third:
        await again.send(fragment(uuid, size))
        assert (await again.receive()).status == 0
        mine, _ = await prepare(other)
        assert (await third.call(Opcode.PREPARE_SNAPSHOT)).status == Status.TEMPORARY_FAILURE
        assert sorted(await kept(other)) == sorted([uuid, mine])


async def test_one_that_its_client_has_stopped_reading_gives_way(two_places, clock) -> None:
    async with two_places.connect() as first, two_places.connect() as second, two_places.connect() as third:
        one, size = await prepare(first)
        two, _ = await prepare(second)
        clock.now += PATIENCE - 1
        assert (await third.call(Opcode.PREPARE_SNAPSHOT)).status == Status.TEMPORARY_FAILURE
        await first.send(fragment(one, size))
        assert (await first.receive()).status == 0
        clock.now += 1
        three, _ = await prepare(third)
        assert sorted(await kept(third)) == sorted([one, three])
        await second.send(fragment(two, 1))
        assert (await second.receive()).status == Status.NOT_FOUND


async def test_one_connection_has_a_share(run_service, tmp_path) -> None:
    options = {"data_dir": tmp_path / "data", "fsync": "no", "max_snapshots_per_connection": 1, "drain_timeout": 1}
    async with run_service(**options) as service, service.connect() as raw, service.connect() as other:
        uuid, _ = await prepare(raw)
        assert (await raw.call(Opcode.PREPARE_SNAPSHOT)).status == Status.TEMPORARY_FAILURE
        await prepare(other)
        assert (await raw.call(Opcode.RELEASE_SNAPSHOT, key=uuid.encode())).status == 0
        await prepare(raw)
