"""How long a snapshot of the files is kept: while it is made, while it is read, and for a while after anybody has asked for it."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_spool.mcbp import FragmentRequest, Opcode, Status, encode_fragment_request, encode_request
from trio_spool.server.shared import Tuning

IDLE = 10.0


class Clock:
    """A clock that is set by hand, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now

    async def wait_looked_at(self) -> None:
        """Wait until all that is too old has been removed."""
        looks = self.looks
        with trio.fail_after(20):
            while self.looks < looks + 6:  # three rounds, each of scans and snapshots
                await trio.sleep(0.005)


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
