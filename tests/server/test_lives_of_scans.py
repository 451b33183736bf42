"""Whatever ends a scan, in whatever state it is: it can't be found any more, and its snapshot is closed."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from trio_spool.engine import ENGINES, Engine, EngineKind, EngineOptions
from trio_spool.mcbp import CONTINUE, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server.shared._scan_state import ScanError, ScanEvent, ScanState, next_state

# More than a window and what the system buffers between two sockets, so that a continue can't end before it is read.
COUNT, SIZE = 20_000, 1000
FINAL = (Status.SCAN_COMPLETE, Status.SCAN_MORE, Status.SCAN_CANCELLED, Status.NOT_FOUND, Status.BUSY)


@pytest.fixture(params=["memory", "lmdb"])
async def service(request, run_service, tmp_path):
    options = {"data_dir": tmp_path / "data", "fsync": "no"} if request.param == "lmdb" else {}
    async with run_service(**options) as served:
        yield served


@pytest.fixture
async def watcher(service):
    async with service.connect() as raw:
        for start in range(0, COUNT, 1000):
            keys = [b"k%06d" % number for number in range(start, start + 1000)]
            await raw.send(*(encode_request(Opcode.SETQ, key=key, value=bytes(SIZE), extras=bytes(8)) for key in keys))
            await raw.call(Opcode.NOOP)
        yield raw


def continued(identity: bytes, items: int = 0) -> bytes:
    return encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, items, 0, 0))


async def final_status(raw) -> int:
    with trio.fail_after(20):
        while (status := (await raw.receive()).status) not in FINAL:
            pass
    return status


async def create(raw) -> bytes:
    reply = await raw.call(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))
    assert reply.status == 0
    return reply.value


async def cancel(raw, identity: bytes) -> None:
    assert (await raw.call(Opcode.RANGE_SCAN_CANCEL, extras=identity)).status == 0


@asynccontextmanager
async def stalled(service, watcher, identity: bytes) -> AsyncIterator[object]:
    """Continue a scan from another connection, which does not read on."""
    async with service.connect() as other:
        await other.send(continued(identity))
        with trio.fail_after(20):
            while [task["state"] for task in await watcher.running() if "continue" in task["command"]] != ["waiting"]:
                pass
        yield other


async def is_over(watcher, identity: bytes) -> None:
    """See that a scan has ended, once everybody has noticed."""
    with trio.fail_after(20):
        while (await watcher.stat(b"engine"))[b"snapshots"] != b"0":
            pass
    assert (await watcher.stat(b"range-scans"))[b"open"] == b"0"
    await watcher.send(continued(identity))
    assert await final_status(watcher) == Status.NOT_FOUND
    assert (await watcher.call(Opcode.RANGE_SCAN_CANCEL, extras=identity)).status == Status.NOT_FOUND


async def test_a_snapshot_is_counted(service, watcher) -> None:
    await create(watcher)
    assert (await watcher.stat(b"engine"))[b"snapshots"] == b"1"


@pytest.mark.parametrize("items", [None, 10], ids=["created", "idle"])
async def test_it_is_cancelled(service, watcher, items) -> None:
    identity = await create(watcher)
    if items:
        await watcher.send(continued(identity, items))
        assert await final_status(watcher) == Status.SCAN_MORE
    await cancel(watcher, identity)
    await is_over(watcher, identity)


@pytest.mark.parametrize("items", [None, 10], ids=["created", "idle"])
async def test_its_owner_leaves(service, watcher, items) -> None:
    async with service.connect() as owner:
        identity = await create(owner)
        if items:
            await owner.send(continued(identity, items))
            assert await final_status(owner) == Status.SCAN_MORE
    await is_over(watcher, identity)


async def test_it_is_complete(service, watcher) -> None:
    identity = await create(watcher)
    await watcher.send(continued(identity))
    assert await final_status(watcher) == Status.SCAN_COMPLETE
    await is_over(watcher, identity)


async def test_a_continue_is_cut_off(service, watcher) -> None:
    identity = await create(watcher)
    async with stalled(service, watcher, identity):
        pass
    await is_over(watcher, identity)


async def test_it_is_cancelled_while_it_is_continued(service, watcher) -> None:
    identity = await create(watcher)
    async with stalled(service, watcher, identity) as other:
        await cancel(watcher, identity)
        assert await final_status(other) == Status.SCAN_CANCELLED
        await is_over(watcher, identity)


async def test_it_is_cancelled_and_its_continue_is_cut_off(service, watcher) -> None:
    identity = await create(watcher)
    async with stalled(service, watcher, identity):
        await cancel(watcher, identity)
    await is_over(watcher, identity)


async def test_its_bucket_is_deleted_by_its_owner(service) -> None:
    async with service.connect() as raw:
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.SET, key=b"k", extras=bytes(8))).status == 0
        await create(raw)
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"other")).status == 0
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"default")).status == 0
        assert (await raw.stat(b"range-scans"))[b"open"] == b"0"


class Gate:
    """An engine in memory, where a scan that has read something waits before it goes on: it looks for writes there."""

    def __init__(self) -> None:
        self.closed = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def kind(self) -> EngineKind:
        return EngineKind("gate", needs_directory=False, open=self._open)

    def _open(self, options: EngineOptions) -> Engine:
        engine: Any = ENGINES["memory"].open(options)
        gate = self

        class Gated(type(engine)):
            @property
            def writer_seconds(self) -> float:
                if gate.closed:
                    gate.reached.set()
                    assert gate.go_on.wait(20)
                return 0.0

        engine.__class__ = Gated
        return engine


async def test_it_is_cancelled_after_its_last_document_was_read(run_service) -> None:
    """The client must not take it for complete."""
    gate = Gate()
    async with run_service(engine=gate.kind()) as service, service.connect() as raw, service.connect() as other:
        assert (await raw.call(Opcode.SET, key=b"k", extras=bytes(8))).status == 0
        identity = await create(raw)
        gate.closed = True
        await raw.send(continued(identity))
        assert await trio.to_thread.run_sync(gate.reached.wait, 20)
        await cancel(other, identity)
        gate.go_on.set()
        assert await final_status(raw) == Status.SCAN_CANCELLED


@pytest.mark.parametrize("event", [ScanEvent.END, ScanEvent.FINISH, ScanEvent.CUT_OFF])
@pytest.mark.parametrize("state", ScanState)
def test_nothing_continues_a_scan_that_has_ended(state: ScanState, event: ScanEvent) -> None:
    """Whatever happens to it after that."""
    reached: set[ScanState] = set()

    def explore(state: ScanState, event: ScanEvent) -> None:
        try:
            following = next_state(state, event)
        except RuntimeError:
            return  # it can't happen
        with pytest.raises(ScanError):
            next_state(following, ScanEvent.CONTINUE)
        if following not in reached:
            reached.add(following)
            for other in set(ScanEvent) - {ScanEvent.CONTINUE}:
                explore(following, other)

    explore(state, event)
