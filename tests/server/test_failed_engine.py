"""A service whose engine fails: every client gets an answer or is disconnected, and the service ends with the reason."""

from __future__ import annotations

import sys
import threading

import pytest
import trio

from support.service import start_service
from support.storage import Faults, FaultyStorage
from trio_spool.engine import EngineFailedError, EngineKind, LostStoreError
from trio_spool.engine._single_writer import SingleWriterEngine
from trio_spool.engine.memory import MemoryEngine
from trio_spool.engine.memory._storage import MemoryStorage
from trio_spool.mcbp import Opcode, ScanRequest, SnapshotRequirements, Status, encode_request, encode_scan_request
from trio_spool.server import Tuning
from trio_spool.server._housekeeping import SLOW_WRITE

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

EXTRAS = bytes(8)
LIMIT = 20  # seconds for what takes one at most; picked


class FaultyEngine(MemoryEngine):
    """An engine in memory that fails when a test says so."""

    def __init__(self, options, faults: Faults) -> None:
        self.identity = "faulty"
        self.storage = MemoryStorage()
        SingleWriterEngine.__init__(self, FaultyStorage(self.storage, faults), options)
        self.writer.start()


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def kind(faults):
    return EngineKind("faulty", needs_directory=False, open=lambda options: FaultyEngine(options, faults))


class Running:
    """A service that is expected to end by itself."""

    def __init__(self, **settings) -> None:
        self._settings = settings

    async def use(self, clients) -> EngineFailedError:
        """Run clients beside the service until both have ended, and return why the service has."""
        with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                service = await start_service(nursery, **self._settings)
                async with trio.open_nursery() as clients_nursery:
                    clients_nursery.cancel_scope.shield = True
                    for client in clients:
                        clients_nursery.start_soon(client, service)
        error: BaseException = caught.value
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions
        assert isinstance(error, EngineFailedError)
        return error


def store(opaque: int) -> bytes:
    return encode_request(Opcode.SET, key=b"k%d" % opaque, value=b"v", extras=EXTRAS, opaque=opaque)


@pytest.mark.parametrize("error", [LostStoreError("the files are gone"), SystemExit(3)])
@pytest.mark.parametrize("point", ["begin", "get", "commit"])
async def test_nobody_waits_for_ever(kind, faults, error: BaseException, point: str) -> None:
    """The store that fails is not answered, since it may have taken place. The others are, and then all are disconnected."""
    reached, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    answers: dict[str, list[int]] = {}

    def hold() -> None:
        faults.hooks.pop(point)
        token.run_sync_soon(reached.set)
        go_on.wait(LIMIT)
        raise error

    async def first(service) -> None:
        async with service.connect() as raw:
            await raw.call(Opcode.NOOP)
            faults.hooks[point] = hold
            await raw.send(store(1))
            assert await raw.closed()

    async def other(service) -> None:
        async with service.connect() as raw:
            await reached.wait()
            await raw.send(store(2), store(3), encode_request(Opcode.NOOP, opaque=4))
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            answers["other"] = [(await raw.receive()).status for _ in range(3)]
            assert await raw.closed()

    async def idle(service) -> None:
        async with service.connect() as raw:
            await raw.call(Opcode.NOOP)
            assert await raw.closed()

    failure = await Running(engine=kind).use([first, other, idle])
    assert answers["other"] == [Status.INTERNAL, Status.INTERNAL, 0]
    assert failure.__cause__ is error


async def test_what_streams_or_waits_does_not_keep_the_service(kind, faults) -> None:
    """Whatever `drain_timeout` is: a supervisor should start another one."""

    async def client(service) -> None:
        async with service.connect() as raw, service.connect() as waiting:
            observed = (await raw.call(Opcode.OBSERVE_SEQNO, value=bytes(8))).value
            wanted = SnapshotRequirements(vbucket_uuid=int.from_bytes(observed[3:11], "big"), seqno=10**6, timeout=3600)
            create = encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(requirements=wanted)))
            await waiting.send(create)
            await waiting.send(store(1)[:20])
            await trio.testing.wait_all_tasks_blocked()
            faults.add("begin", LostStoreError("the files are gone"))
            await raw.send(store(1))
            assert await raw.closed()
            await waiting.closed()  # with or without an answer to the scan that waits

    failure = await Running(engine=kind, drain_timeout=float("inf")).use([client])
    assert str(failure) == "the files are gone"


async def test_while_it_drains(kind, faults) -> None:
    async def client(service) -> None:
        async with service.connect() as raw:
            await raw.send(store(1)[:20])
            await trio.testing.wait_all_tasks_blocked()
            service.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            faults.add("begin", LostStoreError("the files are gone"))
            await raw.send(store(1)[20:])
            assert await raw.closed()

    await Running(engine=kind, drain_timeout=60).use([client])


async def test_other_buckets_are_closed_properly(kind, faults) -> None:
    """They have answered for what they were given."""
    engines = []

    def open_and_remember(options):
        engines.append(kind.open(options))
        return engines[-1]

    async def client(service) -> None:
        async with service.connect() as raw:
            assert (await raw.call(Opcode.CREATE_BUCKET, key=b"other")).status == 0
            faults.add("begin", LostStoreError("the files are gone"))
            await raw.send(store(1))
            assert await raw.closed()

    await Running(engine=EngineKind("faulty", needs_directory=False, open=open_and_remember)).use([client])
    assert len(engines) == 2
    assert [engine.failure is not None for engine in engines] == [True, False]
    assert all(engine.writer.closing for engine in engines)


async def test_a_disk_that_does_not_answer_is_said(kind, faults, run_service, until) -> None:
    go_on = threading.Event()

    def hold() -> None:
        faults.hooks.pop("commit")
        go_on.wait(LIMIT)

    tuning = Tuning(slow_write=0.01, housekeeping=0.01)
    async with run_service(engine=kind, tuning=tuning) as service, service.connect() as raw, service.connect() as reader:
        await raw.call(Opcode.NOOP)
        assert SLOW_WRITE not in service.inside.incidents.counts()
        faults.hooks["commit"] = hold
        await raw.send(store(1))
        await until(lambda: service.inside.incidents.counts().get(SLOW_WRITE, 0) > 2)
        assert (await reader.call(Opcode.GET, key=b"k1")).status == Status.NOT_FOUND
        assert service.inside.buckets.stuck(0.01) == ["default"]
        go_on.set()
        assert (await raw.receive()).status == 0
        await until(lambda: service.inside.buckets.default.engine.busy_seconds == 0)
        assert service.inside.buckets.stuck(0.01) == []


async def test_a_disk_that_does_not_answer_when_items_expire_is_seen(kind, faults, run_service, until) -> None:
    go_on = threading.Event()

    def hold() -> None:
        faults.hooks.pop("commit")
        go_on.wait(LIMIT)

    async with run_service(engine=kind) as service, service.connect() as raw:
        await raw.call(Opcode.SET, extras=bytes(4) + (1).to_bytes(4, "big"), key=b"k", value=b"v")
        faults.hooks["commit"] = hold  # nobody writes: the next commit is that of the expiry
        await until(lambda: service.inside.buckets.stuck(0.01) == ["default"])
        go_on.set()
        await until(lambda: service.inside.buckets.default.engine.statistics().expired == 1)
