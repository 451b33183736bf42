"""Range scans and GET_KEYS, by the frame."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import uuid
from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks, nothing
from trio_spool.engine import StorageError
from trio_spool.mcbp import (
    CONTINUE,
    DOCUMENTS_EXTRAS,
    KEYS_EXTRAS,
    Feature,
    Opcode,
    ScanRequest,
    SnapshotRequirements,
    Status,
    encode_request,
    encode_scan_request,
    unpack_scan,
)
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)


async def fill(raw, count: int, size: int = 10, prefix: bytes = b"k") -> list[bytes]:
    keys = [prefix + b"%06d" % number for number in range(count)]
    for start in range(0, count, 1000):
        part = keys[start : start + 1000]
        await raw.send(*(encode_request(Opcode.SETQ, key=key, value=key * (size // 7 + 1), extras=EXTRAS) for key in part))
        await raw.call(Opcode.NOOP)
    return keys


async def create(raw, request: ScanRequest | dict | None = None, **kwargs):
    value = json.dumps(request).encode() if isinstance(request, dict) else encode_scan_request(request or ScanRequest())
    return await raw.call(Opcode.RANGE_SCAN_CREATE, value=value, **kwargs)


def continued(identity: bytes, items: int = 0, milliseconds: int = 0, size: int = 0, **kwargs) -> bytes:
    return encode_request(Opcode.RANGE_SCAN_CONTINUE, extras=CONTINUE.pack(identity, items, milliseconds, size), **kwargs)


async def read_continue(raw) -> tuple[int, list]:
    """Read the answer to a continue, and return its status and the documents."""
    documents = []
    while True:
        response = await raw.receive()
        assert response.opcode == Opcode.RANGE_SCAN_CONTINUE
        if response.value and response.status in (Status.OK, Status.SCAN_MORE, Status.SCAN_COMPLETE):
            assert response.extras in (KEYS_EXTRAS, DOCUMENTS_EXTRAS)
            documents += unpack_scan(response.value, response.extras == KEYS_EXTRAS)
        if response.status:
            return response.status, documents


async def continue_(raw, identity: bytes, items: int = 0, milliseconds: int = 0, size: int = 0) -> tuple[int, list]:
    await raw.send(continued(identity, items, milliseconds, size))
    return await read_continue(raw)


async def cancel(raw, identity: bytes) -> int:
    return (await raw.call(Opcode.RANGE_SCAN_CANCEL, extras=identity)).status


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture
async def controlled(run_service, hooks):
    """A service whose engine does what `hooks` says, and a connection to it."""
    async with run_service(engine=hooks.kind(), drain_timeout=1) as service, service.connect() as raw:
        yield service, raw


@pytest.fixture(params=["memory", "lmdb"])
async def service(request, run_service, tmp_path):
    options = {"engine": request.param, "fsync": "no"}
    if request.param == "lmdb":
        options["data_dir"] = tmp_path / "data"
    async with run_service(**options) as served:
        yield served


async def test_everything(raw) -> None:
    keys = await fill(raw, 5000)
    reply = await create(raw)
    assert (reply.status, len(reply.value)) == (0, 16)
    status, documents = await continue_(raw, reply.value)
    assert status == Status.SCAN_COMPLETE
    assert [document.key for document in documents] == keys
    assert all(document.value == document.key * 2 for document in documents)
    assert len({document.cas for document in documents}) == len({document.seqno for document in documents}) == 5000
    assert (await continue_(raw, reply.value))[0] == Status.NOT_FOUND


@pytest.mark.parametrize(
    ("limits", "first", "last"),
    [
        ({"start": b"k000010", "end": b"k000020"}, 10, 20),
        ({"excl_start": b"k000010", "end": b"k000020"}, 11, 20),
        ({"start": b"k000010", "excl_end": b"k000020"}, 10, 19),
        ({"excl_start": b"k000010", "excl_end": b"k000020"}, 11, 19),
        ({"start": b"", "end": b"k000001"}, 0, 1),
        ({"start": b"k000098", "end": b"\xff" * 250}, 98, 99),
        ({"start": b"k000010", "end": b"k000010"}, 10, 10),
    ],
)
async def test_ranges(raw, limits, first: int, last: int) -> None:
    keys = await fill(raw, 100)
    reply = await create(raw, {"range": {name: b64(key) for name, key in limits.items()}, "key_only": True})
    status, documents = await continue_(raw, reply.value)
    assert (status, [document.key for document in documents]) == (Status.SCAN_COMPLETE, keys[first : last + 1])
    assert all(document.value == b"" for document in documents)


async def test_documents_have_all_that_belongs_to_them(raw) -> None:
    await raw.hello(Feature.JSON)
    stored = await raw.call(
        Opcode.SET, key=b"key", value=b"{}", extras=(7).to_bytes(4, "big") + (2_000_000_000).to_bytes(4, "big"), datatype=1
    )
    reply = await create(raw, datatype=1)
    ((document,),) = [(await continue_(raw, reply.value))[1]]
    assert (document.key, document.value, document.flags, document.expiry) == (b"key", b"{}", 7, 2_000_000_000)
    assert (document.datatype, document.cas) == (1, stored.cas)


async def test_an_empty_range(raw) -> None:
    assert (await create(raw)).status == Status.NOT_FOUND
    await fill(raw, 10)
    nothing = {"range": {"start": b64(b"l"), "end": b64(b"z")}}
    assert (await create(raw, nothing)).status == Status.NOT_FOUND
    backwards = {"range": {"start": b64(b"l"), "end": b64(b"a")}}
    assert (await create(raw, backwards)).status == Status.NOT_FOUND


async def test_expired_documents_are_not_there(raw) -> None:
    await raw.call(Opcode.SET, key=b"a", value=b"v", extras=bytes(4) + (2_592_001).to_bytes(4, "big"))
    assert (await create(raw)).status == Status.NOT_FOUND
    await raw.call(Opcode.SET, key=b"b", value=b"v", extras=EXTRAS)
    reply = await create(raw)
    assert [document.key for document in (await continue_(raw, reply.value))[1]] == [b"b"]


async def test_limits_of_a_continue(raw) -> None:
    keys = await fill(raw, 3000, 100)
    identity = (await create(raw)).value
    status, documents = await continue_(raw, identity, items=7)
    assert (status, [document.key for document in documents]) == (Status.SCAN_MORE, keys[:7])
    status, documents = await continue_(raw, identity, size=1)
    assert (status, [document.key for document in documents]) == (Status.SCAN_MORE, keys[7:8])  # at least one
    status, documents = await continue_(raw, identity, size=15_000)
    seen = 8 + len(documents)
    assert (status, [document.key for document in documents]) == (Status.SCAN_MORE, keys[8:seen])
    assert 14_000 < sum(len(document.key) + len(document.value) + 29 for document in documents) < 15_200
    status, documents = await continue_(raw, identity, items=2500, size=1_000_000)
    assert (status, len(documents)) == (Status.SCAN_MORE, 2500)
    status, documents = await continue_(raw, identity, items=3000 - seen - 2500)
    assert status == Status.SCAN_COMPLETE  # though the limit is reached as well
    assert documents[-1].key == keys[-1]


async def test_the_time_limit_allows_at_least_one(run_service) -> None:
    now = iter(range(1_000_000))
    tuning = Tuning(clock=lambda: next(now), housekeeping=1e6)  # each look is a second later
    async with run_service(tuning=tuning, max_scan_life=1e6) as service, service.connect() as raw:
        keys = await fill(raw, 3000)
        identity = (await create(raw)).value
        status, documents = await continue_(raw, identity, milliseconds=1)
        assert status == Status.SCAN_MORE
        assert [document.key for document in documents] == keys[: len(documents)]
        assert 1 <= len(documents) < 3000


async def test_what_is_written_later_is_not_seen(raw) -> None:
    keys = await fill(raw, 2000)
    identity = (await create(raw)).value
    status, first = await continue_(raw, identity, items=10)
    await raw.call(Opcode.DELETE, key=keys[500])
    await raw.call(Opcode.SET, key=keys[600], value=b"changed", extras=EXTRAS)
    await raw.call(Opcode.SET, key=keys[700] + b"x", value=b"new", extras=EXTRAS)
    await raw.call(Opcode.FLUSH)
    status, rest = await continue_(raw, identity)
    assert status == Status.SCAN_COMPLETE
    assert [document.key for document in first + rest] == keys
    assert all(document.value == document.key * 2 for document in rest)


async def test_a_sample_is_the_same_for_the_same_seed(raw) -> None:
    keys = await fill(raw, 20_000)

    async def sample(seed: int, *limits: int) -> list[bytes]:
        identity = (await create(raw, {"sampling": {"samples": 1000, "seed": seed}, "key_only": True})).value
        found, status = [], Status.SCAN_MORE
        for number in range(10**6):
            status, documents = await continue_(raw, identity, items=limits[number % len(limits)])
            assert status == Status.SCAN_COMPLETE or documents
            found += [document.key for document in documents]
            if status == Status.SCAN_COMPLETE:
                return found
        raise AssertionError

    first = await sample(7, 0)
    assert first == await sample(7, 100, 1, 37)
    assert first != await sample(8, 0)
    assert first == sorted(set(first)) and set(first) <= set(keys)
    assert 850 < len(first) < 1150  # five standard deviations
    identity = (await create(raw, {"sampling": {"samples": 30_000, "seed": 1}, "key_only": True})).value
    assert len((await continue_(raw, identity))[1]) == 20_000


async def test_from_another_connection(service, raw) -> None:
    keys = await fill(raw, 100)
    identity = (await create(raw)).value
    async with service.connect() as other:
        status, documents = await continue_(other, identity, items=10)
        assert (status, [document.key for document in documents]) == (Status.SCAN_MORE, keys[:10])
    status, documents = await continue_(raw, identity)
    assert (status, [document.key for document in documents]) == (Status.SCAN_COMPLETE, keys[10:])


async def test_cancel(service, raw) -> None:
    await fill(raw, 100)
    identity = (await create(raw)).value
    assert await cancel(raw, identity) == 0
    assert await cancel(raw, identity) == Status.NOT_FOUND
    assert (await continue_(raw, identity))[0] == Status.NOT_FOUND
    assert await cancel(raw, uuid.uuid4().bytes) == Status.NOT_FOUND
    assert service.inside.buckets.default.engine.statistics().snapshots == 0


async def test_refusals(service, raw) -> None:
    await fill(raw, 10)
    assert (await raw.call(Opcode.RANGE_SCAN_CREATE, value=b"{}")).status == Status.INVALID
    assert (await create(raw, vbucket=1)).status == Status.NOT_MY_VBUCKET
    assert (await create(raw, ScanRequest(end=b"z", collection=9))).status == Status.UNKNOWN_COLLECTION
    assert (await raw.call(Opcode.NOOP)).status == 0


async def test_snapshot_requirements(service, raw) -> None:
    await raw.hello(Feature.MUTATION_SEQNO, Feature.XERROR)
    extras = (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).extras
    vbucket_uuid, seqno = int.from_bytes(extras[:8], "big"), int.from_bytes(extras[8:], "big")

    async def required(**values):
        values = {"vbucket_uuid": vbucket_uuid, "seqno": seqno, **values}
        return await create(raw, ScanRequest(end=b"z", requirements=SnapshotRequirements(**values)))

    assert (await required()).status == 0
    assert (await required(seqno_exists=True)).status == 0
    assert (await required(vbucket_uuid=vbucket_uuid + 1)).status == Status.VBUCKET_UUID_DIFFERS
    assert (await required(seqno=seqno + 1)).status == Status.TEMPORARY_FAILURE
    reply = await required(seqno=seqno + 1, timeout=0.02)
    assert (reply.status, b"not reached" in reply.value) == (Status.TEMPORARY_FAILURE, True)
    await raw.call(Opcode.SET, key=b"k", value=b"w", extras=EXTRAS)
    assert (await required(seqno_exists=True)).status == Status.NOT_STORED  # it was overwritten
    assert (await required(seqno=seqno + 1, seqno_exists=True)).status == 0


async def test_a_create_waits_for_its_seqno(service, raw) -> None:
    await fill(raw, 10)
    inside = service.inside
    requirements = SnapshotRequirements(vbucket_uuid=inside.buckets.default.vbucket_uuid(0), seqno=11, timeout=60)
    await raw.send(encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest(requirements=requirements))))
    async with service.connect() as other:
        await other.call(Opcode.SET, key=b"late", value=b"v", extras=EXTRAS)
    reply = await raw.receive()
    assert reply.status == 0
    assert [document.key for document in (await continue_(raw, reply.value))[1]][-1] == b"late"


async def test_too_many(run_service, until) -> None:
    async with run_service(max_scans=5, max_scans_per_connection=3) as service, service.connect() as raw:
        await fill(raw, 10)
        await raw.hello(Feature.XERROR)
        identities = [(await create(raw)).value for _ in range(3)]
        reply = await create(raw)
        assert (reply.status, b"one connection" in reply.value) == (Status.TEMPORARY_FAILURE, True)
        async with service.connect() as other:
            assert [(await create(other)).status for _ in range(3)] == [0, 0, Status.TEMPORARY_FAILURE]
            assert await cancel(raw, identities[0]) == 0
            assert (await create(other)).status == 0  # there is room again
        await until(lambda: len(list(service.inside.scans)) == 2)
        assert (await create(raw)).status == 0


async def test_a_scan_that_has_ended_makes_room(run_service) -> None:
    async with run_service(max_scans=1) as service, service.connect() as raw:
        await fill(raw, 10)
        for _ in range(5):
            reply = await create(raw)
            assert reply.status == 0
            assert (await continue_(raw, reply.value))[0] == Status.SCAN_COMPLETE


async def test_two_continues_at_once(service, raw, until) -> None:
    await fill(raw, 20_000, 1000)
    identity = (await create(raw)).value
    await raw.send(continued(identity))
    await raw.receive()
    async with service.connect() as other:
        assert (await continue_(other, identity))[0] == Status.BUSY
        # Cancelled by another connection: the continue that is running says so, after some more frames.
        assert await cancel(other, identity) == 0
    status, _ = await read_continue(raw)
    assert status == Status.SCAN_CANCELLED
    assert (await raw.call(Opcode.NOOP)).status == 0


async def test_the_life_of_a_scan_ends(run_service, tmp_path, until) -> None:
    async with run_service(engine="lmdb", data_dir=tmp_path / "data", max_scan_life=0.05) as service, service.connect() as raw:
        await fill(raw, 10)
        identity = (await create(raw)).value
        await until(lambda: service.inside.buckets.default.engine.statistics().snapshots == 0)
        assert (await continue_(raw, identity))[0] == Status.NOT_FOUND
        assert service.inside.scans.expired == 1


async def test_a_stalled_continue_holds_no_thread_and_ends_with_its_life(run_service, tmp_path, until) -> None:
    async with (
        run_service(engine="lmdb", data_dir=tmp_path / "data", workers=1, window=20_000) as service,
        service.connect() as watcher,
        service.connect() as raw,
    ):
        inside = service.inside
        await fill(watcher, 20_000, 1000)
        identity = (await create(raw)).value
        await raw.send(continued(identity))
        await until(
            lambda: [answer.describe()["state"] for connection in inside.connections for answer in connection.jobs()] == ["waiting"]
        )
        await until(lambda: inside.limiter.borrowed_tokens == 0)
        # The one worker is free for others.
        other = (await create(watcher)).value
        assert (await continue_(watcher, other, items=10))[0] == Status.SCAN_MORE
        await cancel(watcher, other)
        (scan,) = inside.scans
        scan.began -= 1000
        inside.scans.end_old()
        assert inside.buckets.default.engine.statistics().snapshots == 0
        assert (await read_continue(raw))[0] == Status.SCAN_CANCELLED


async def test_a_stalled_scan_does_not_make_the_database_grow_for_ever(run_service, tmp_path, until) -> None:
    """Pages that a snapshot sees can't be used again: its life bounds how many."""
    data = tmp_path / "data"
    async with run_service(engine="lmdb", data_dir=data, fsync="no") as service, service.connect() as raw:
        inside = service.inside

        async def overwrite(times: int) -> int:
            for _ in range(times):
                await fill(raw, 1000, 1000)
            return (data / "data.mdb").stat().st_size

        size = await overwrite(10)
        assert await overwrite(20) == size  # without a scan, pages are used again
        await create(raw)
        grown = await overwrite(20)
        assert grown > 2 * size
        (scan,) = inside.scans
        scan.began -= 1000
        inside.scans.end_old()
        await until(lambda: inside.buckets.default.engine.statistics().snapshots == 0)
        assert await overwrite(20) == grown  # what grew is used again


async def test_reader_slots_do_not_run_out(run_service, tmp_path) -> None:
    """With all scans open that there may be, from as many connections, there are slots for everything else that reads."""
    most = 30
    async with (
        run_service(
            engine="lmdb", data_dir=tmp_path / "data", max_scans=most, max_snapshots_per_connection=3, fsync="no"
        ) as service,
        AsyncExitStack() as stack,
    ):
        connections = [await stack.enter_async_context(service.connect()) for _ in range(most + 1)]
        *others, last = connections
        await fill(last, 100)
        for _ in range(3):
            assert [(await create(raw)).status for raw in connections] == [0] * most + [Status.TEMPORARY_FAILURE]
            assert (await last.call(Opcode.GET, key=b"k000000")).status == 0
            assert (await last.call(Opcode.GET_KEYS, key=b"k")).status == 0
            assert (await last.call(Opcode.PREPARE_SNAPSHOT)).status == 0
            await last.send(encode_request(Opcode.STAT, key=b"keys"))
            while (await last.receive()).key:
                pass
            for scan in list(service.inside.scans):
                assert await cancel(others[0], scan.id) == 0


async def test_cancelling_while_the_last_documents_are_read(controlled, hooks) -> None:
    """The client must not take what it got for all that there is."""
    service, raw = controlled
    await fill(raw, 100)
    identity = (await create(raw)).value
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go_on.wait(20)

    hooks.after_read = hold
    await raw.send(continued(identity))
    assert await trio.to_thread.run_sync(reached.wait, 20)
    async with service.connect() as other:
        assert await cancel(other, identity) == 0
    go_on.set()
    reply = await raw.receive()
    assert (reply.status, reply.value) == (Status.SCAN_CANCELLED, b"")
    assert left_behind(service) == (0, 0, 0)


async def test_a_store_that_fails_is_not_a_temporary_failure(controlled, hooks) -> None:
    service, raw = controlled
    await fill(raw, 10)

    def fail() -> None:
        raise StorageError("a page is damaged")

    hooks.before_read = fail
    assert (await create(raw)).status == Status.INTERNAL
    assert service.inside.counters.stream_failures == 1


async def test_a_failure_is_the_final_status(controlled, hooks) -> None:
    _, raw = controlled
    await fill(raw, 5000)
    identity = (await create(raw)).value
    assert (await continue_(raw, identity, items=10))[0] == Status.SCAN_MORE
    reads = itertools.count()

    def fail_late() -> None:
        if next(reads) > 11:
            raise RuntimeError("the disk is on fire")

    hooks.before_read = fail_late
    status, documents = await continue_(raw, identity)
    assert status == Status.INTERNAL
    assert documents  # what had been sent before
    hooks.before_read = nothing
    assert (await continue_(raw, identity))[0] == Status.NOT_FOUND
    assert (await raw.call(Opcode.NOOP)).status == 0


# Cancellation, at each phase: the client leaves, and nothing is left behind


def left_behind(service) -> tuple[int, int, int]:
    inside = service.inside
    return inside.limiter.borrowed_tokens, len(list(inside.scans)), inside.buckets.default.engine.statistics().snapshots


async def test_leaving_during_create(controlled, hooks, until) -> None:
    service, raw = controlled
    await fill(raw, 100)
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(20)

    hooks.before_read = held
    async with service.connect() as leaving:
        await leaving.send(encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest())))
        assert await trio.to_thread.run_sync(reached.wait, 20)
    await wait_all_tasks_blocked()
    go_on.set()
    await until(lambda: left_behind(service) == (0, 0, 0))


async def test_leaving_while_waiting_for_a_seqno(service, raw, until) -> None:
    await fill(raw, 1)
    async with service.connect() as leaving:
        requirements = SnapshotRequirements(vbucket_uuid=service.inside.buckets.default.vbucket_uuid(0), seqno=10**9, timeout=1000)
        value = encode_scan_request(ScanRequest(requirements=requirements))
        await leaving.send(encode_request(Opcode.RANGE_SCAN_CREATE, value=value))
        await until(lambda: len(service.inside.waits))
    await until(lambda: not len(service.inside.waits))


async def test_leaving_between_continues(service, raw, until) -> None:
    await fill(raw, 100)
    async with service.connect() as leaving:
        identity = (await create(leaving)).value
        await continue_(leaving, identity, items=10)
    await until(lambda: left_behind(service) == (0, 0, 0))
    assert (await continue_(raw, identity))[0] == Status.NOT_FOUND


@pytest.mark.parametrize("frames", [0, 1])
async def test_leaving_in_a_continue(service, raw, until, frames: int) -> None:
    await fill(raw, 20_000, 1000)
    async with service.connect() as leaving:
        identity = (await create(leaving)).value
        await leaving.send(continued(identity))
        for _ in range(frames):
            await leaving.receive()
        await leaving.stream.receive_some(10)  # in the middle of a frame
    await until(lambda: left_behind(service) == (0, 0, 0))
    assert (await continue_(raw, identity))[0] == Status.NOT_FOUND


async def test_leaving_while_the_window_is_full(service, raw, until) -> None:
    await fill(raw, 20_000, 1000)
    async with service.connect() as leaving:
        await leaving.send(continued((await create(leaving)).value))
        await until(lambda: service.inside.limiter.borrowed_tokens == 0 and service.inside.connections.spool_statistics().turns)
    await until(lambda: left_behind(service) == (0, 0, 0))


async def test_leaving_while_the_worker_is_inside_the_engine(controlled, hooks, until) -> None:
    service, raw = controlled
    await fill(raw, 1000)
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(20)

    async with service.connect() as leaving:
        identity = (await create(leaving)).value
        hooks.before_read = held
        await leaving.send(continued(identity))
        assert await trio.to_thread.run_sync(reached.wait, 20)
        assert (await continue_(raw, identity))[0] == Status.BUSY
    await wait_all_tasks_blocked()
    assert service.inside.limiter.borrowed_tokens == 1
    go_on.set()
    await until(lambda: left_behind(service) == (0, 0, 0))


async def test_a_sample_that_finds_nothing_stops_when_its_client_leaves(controlled, hooks, until) -> None:
    service, raw = controlled
    await fill(raw, 1000)
    async with service.connect() as leaving:
        identity = (await create(leaving, {"sampling": {"samples": 1, "seed": 1}})).value
        hooks.endless = True  # nothing is ever found, and the end never reached
        await leaving.send(continued(identity))
        await until(lambda: service.inside.limiter.borrowed_tokens == 1)
    await until(lambda: left_behind(service) == (0, 0, 0))


async def test_shutdown_ends_scans(run_service, tmp_path) -> None:
    async with run_service(engine="lmdb", data_dir=tmp_path / "data", drain_timeout=0.1) as service, service.connect() as raw:
        await fill(raw, 20_000, 1000)
        identity = (await create(raw)).value
        await create(raw)
        await raw.send(continued(identity))
        await raw.receive()
        service.stop.set()
        inside = service.inside
    assert list(inside.scans) == []
    assert len(inside.buckets.default.engine.registry) == 0
    assert inside.limiter.borrowed_tokens == 0


# Keys


def unpack_keys(value: bytes) -> list[bytes]:
    keys = []
    while value:
        length = int.from_bytes(value[:2], "big")
        keys.append(value[2 : 2 + length])
        value = value[2 + length :]
    return keys


async def test_get_keys(raw) -> None:
    assert (await raw.call(Opcode.GET_KEYS)).value == b""
    keys = await fill(raw, 2500)
    assert unpack_keys((await raw.call(Opcode.GET_KEYS)).value) == keys[:1000]
    assert unpack_keys((await raw.call(Opcode.GET_KEYS, key=keys[2000])).value) == keys[2000:]
    assert unpack_keys((await raw.call(Opcode.GET_KEYS, key=b"k0005", extras=(3).to_bytes(4, "big"))).value) == keys[500:503]
    assert unpack_keys((await raw.call(Opcode.GET_KEYS, extras=(2**32 - 1).to_bytes(4, "big"))).value) == keys
    assert unpack_keys((await raw.call(Opcode.GET_KEYS, extras=bytes(4))).value) == []
    assert (await raw.call(Opcode.GET_KEYS, key=b"z")).status == 0


async def test_get_keys_is_bounded(run_service) -> None:
    async with run_service(max_item_size=1000) as service, service.connect() as raw:
        keys = await fill(raw, 2500)
        found = unpack_keys((await raw.call(Opcode.GET_KEYS, extras=(2**32 - 1).to_bytes(4, "big"))).value)
        assert found == keys[: len(found)]
        assert 1000 <= len(found) * 9 < 1020


# Statistics


async def stat(raw, group: bytes) -> dict[bytes, bytes]:
    await raw.send(encode_request(Opcode.STAT, key=group))
    found = {}
    while (response := await raw.receive()).key:
        assert response.status == 0
        found[response.key] = response.value
    return found


async def test_the_group_range_scans(service, raw) -> None:
    await fill(raw, 100)
    identity = (await create(raw, {"range": {"start": "", "end": b64(b"z")}, "name": "mine"})).value
    await continue_(raw, identity, items=10)
    found = await stat(raw, b"range-scans")
    assert (found[b"open"], found[b"created"]) == (b"1", b"1")
    described = json.loads(found[str(uuid.UUID(bytes=identity)).encode()])
    assert (described["name"], described["items"], described["continues"]) == ("mine", 10, 1)
    assert (described["state"], described["seqno"], described["keys_only"]) == ("idle", 100, False)
    assert (await raw.call(Opcode.STAT, key=b"range-scans x")).status == Status.NOT_FOUND


async def test_the_group_tasks(service, raw) -> None:
    async with service.connect() as watcher:
        await fill(watcher, 20_000, 1000)
        identity = (await create(raw, {"range": {"start": "", "end": b64(b"z")}, "name": "mine"})).value
        await raw.send(continued(identity))
        task: dict = {}
        with trio.fail_after(60):  # it starts in a thread, and works until all that may wait for the reader does
            while (task.get("key"), task.get("state")) != ("mine", "waiting"):
                (task,) = await watcher.running() or [task]
        assert task["command"] == "range_scan_continue"
        assert task["connection"] == 1 and task["seconds"] >= 0
