"""What one bucket and one user may have of the scans, snapshots and workers."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.engines import Hooks
from support.users import PASSWORD, user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Feature, Opcode, ScanRequest, Status, encode_request, encode_scan_request
from trio_spool.server import Settings
from trio_spool.server.shared import Shares
from trio_spool.server.shared._shares import Workers, part_of

EXTRAS = bytes(8)
SCAN = encode_request(Opcode.RANGE_SCAN_CREATE, value=encode_scan_request(ScanRequest()))


@pytest.mark.parametrize(
    ("total", "share", "part"),
    [(64, 0.75, 48), (4, 0.75, 3), (1, 0.75, 1), (2, 0.75, 1), (8, 1.0, 8), (100, 0.29, 29), (3, 0.01, 1)],
)
def test_what_a_share_is(total: int, share: float, part: int) -> None:
    assert part_of(total, share) == part


def test_a_share_holds_only_where_there_are_others() -> None:
    counts = {"buckets": 1, "users": 0}
    settings = Settings(bucket_share=0.5, user_share=0.25)
    shares = Shares(lambda: settings, lambda: counts["buckets"], lambda: counts["users"])
    assert (shares.of_bucket(8), shares.of_user(8)) == (8, 8)
    counts["users"] = 1
    assert shares.of_user(8) == 8
    counts.update(buckets=2, users=2)
    assert (shares.of_bucket(8), shares.of_user(8)) == (4, 2)


# Buckets


async def two_buckets(service: Any, *others: bytes) -> None:
    async with service.connect() as raw:
        await raw.hello(Feature.SELECT_BUCKET)
        for name in others or (b"other",):
            assert (await raw.call(Opcode.CREATE_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"default")).status == 0
        assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0


async def select(raw: Any, name: bytes) -> None:
    await raw.hello(Feature.SELECT_BUCKET, Feature.XERROR)
    assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0


async def scan(raw: Any) -> int:
    await raw.send(SCAN)
    reply = await raw.receive()
    if reply.status:
        assert b"share" in reply.value or b"--max-scans" in reply.value
    return reply.status


async def test_a_bucket_leaves_scans_to_others(run_service) -> None:
    async with run_service(max_scans=4, bucket_share=0.5) as service, service.connect() as raw, service.connect() as other:
        await select(raw, b"default")
        assert (await raw.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
        assert [await scan(raw) for _ in range(3)] == [0, 0, 0]  # it is alone
        await two_buckets(service)
        assert await scan(raw) == Status.TEMPORARY_FAILURE
        await select(other, b"other")
        assert await scan(other) == 0
        assert await scan(other) == Status.TEMPORARY_FAILURE  # there are four


async def test_a_bucket_leaves_snapshots_to_others(run_service, tmp_path) -> None:
    options = {"max_snapshots": 3, "max_snapshots_per_connection": 3, "bucket_share": 0.4, "fsync": "no"}
    async with run_service(data_dir=tmp_path / "data", **options) as service, service.connect() as raw, service.connect() as other:
        await two_buckets(service)
        await select(raw, b"default")
        await select(other, b"other")
        assert (await raw.call(Opcode.PREPARE_SNAPSHOT)).status == 0
        refused = await raw.call(Opcode.PREPARE_SNAPSHOT)
        assert refused.status == Status.TEMPORARY_FAILURE
        assert b"--bucket-share" in refused.value
        assert (await other.call(Opcode.PREPARE_SNAPSHOT)).status == 0


class Blocking:
    """An engine whose snapshots are read only when we say so."""

    def __init__(self) -> None:
        self.hooks = Hooks()
        self.hooks.before_read = self._read
        self.open = threading.Event()
        self.open.set()
        self.began = 0

    def _read(self) -> None:
        self.began += 1
        assert self.open.wait(20)


async def test_a_bucket_leaves_workers_to_others(run_service, until) -> None:
    """Six clients scan one bucket of which nothing can be read. Another bucket's scans still find a worker."""
    blocking = Blocking()
    async with run_service(engine=blocking.hooks.kind(), workers=4, bucket_share=0.5) as service:
        await two_buckets(service)
        streams = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(6)]
        blocking.open.clear()
        try:
            for stream in streams:
                await stream.send_all(SCAN)
            await until(lambda: blocking.began == 2)
            await wait_all_tasks_blocked()
            assert (service.inside.limiter.borrowed_tokens, blocking.began) == (2, 2)
            assert service.inside.workers.waiting == 4
            async with service.connect() as other:
                await select(other, b"other")
                await other.send(encode_request(Opcode.STAT, key=b"keys"))
                assert (await other.receive()).key == b"k"
        finally:
            blocking.open.set()
        for stream in streams:
            assert len(await stream.receive_some(1000)) == 40
            await stream.aclose()
        await until(lambda: not service.inside.limiter.borrowed_tokens and not len(service.inside.workers))


# Users


@pytest.fixture
def users(tmp_path):
    roles = (Role.READ, Role.STATS, Role.ADMIN)
    return write_users(tmp_path / "users.json", *(user(name, *roles, password=PASSWORD) for name in ("ann", "bob")))


async def test_a_user_leaves_scans_to_others(run_service, users) -> None:
    async with run_service(max_scans=4, user_share=0.5, users=users) as service:
        async with service.connect() as ann, service.connect() as again, service.connect() as bob:
            for raw, name in ((ann, "ann"), (again, "ann"), (bob, "bob")):
                await raw.hello(Feature.XERROR)
                assert await raw.login(name, PASSWORD) == 0
            assert (await ann.call(Opcode.SET, key=b"k", extras=EXTRAS)).status == 0
            assert [await scan(ann), await scan(again), await scan(ann), await scan(again)] == [0, 0, 0x86, 0x86]
            assert [await scan(bob), await scan(bob), await scan(bob)] == [0, 0, 0x86]
        # The places are free again when their connections have gone.
        async with service.connect() as ann:
            assert await ann.login("ann", PASSWORD) == 0
            assert await scan(ann) == 0


async def test_a_user_leaves_snapshots_to_others(run_service, users, tmp_path) -> None:
    options = {"max_snapshots": 3, "max_snapshots_per_connection": 3, "user_share": 0.4, "fsync": "no", "users": users}
    async with run_service(data_dir=tmp_path / "data", **options) as service, service.connect() as ann, service.connect() as bob:
        for raw, name in ((ann, "ann"), (bob, "bob")):
            await raw.hello(Feature.XERROR)
            assert await raw.login(name, PASSWORD) == 0
        assert (await ann.call(Opcode.PREPARE_SNAPSHOT)).status == 0
        refused = await ann.call(Opcode.PREPARE_SNAPSHOT)
        assert refused.status == Status.TEMPORARY_FAILURE
        assert b"--user-share" in refused.value
        assert (await bob.call(Opcode.PREPARE_SNAPSHOT)).status == 0


# The limiters


@pytest.fixture
async def workers() -> tuple[Workers, dict[str, float]]:
    values = {"bucket_share": 0.5, "user_share": 0.5}
    shares = Shares(lambda: Settings(**values), lambda: 2, lambda: 2)
    return Workers(shares, trio.CapacityLimiter(4)), values


async def test_whoever_waits_for_a_share_holds_nothing(workers) -> None:
    limiters, _ = workers
    first, second = limiters.limiter("a", "ann"), limiters.limiter("a", "bob")
    for borrower in ("1", "2"):
        await first.acquire_on_behalf_of(borrower)
    with trio.move_on_after(0):
        await second.acquire_on_behalf_of("3")  # the bucket has its share
    assert limiters.everybody.borrowed_tokens == 2
    assert (first.available_tokens, second.available_tokens) == (0, 0)
    await limiters.limiter("b", "bob").acquire_on_behalf_of("3")
    for borrower in ("1", "2"):
        first.release_on_behalf_of(borrower)
    assert len(limiters) == 2
    with trio.fail_after(1):
        await second.acquire_on_behalf_of("4")
    second.release_on_behalf_of("4")


async def test_shares_follow_the_settings(workers) -> None:
    limiters, values = workers
    limiter = limiters.limiter("a", "")
    for borrower in range(2):
        await limiter.acquire_on_behalf_of(borrower)
    assert limiter.available_tokens == 0
    values["bucket_share"] = 0.75
    assert limiter.available_tokens == 1
    values["bucket_share"] = 1
    assert limiters.limiter("a", "") is limiters.everybody
    for borrower in range(2):
        limiter.release_on_behalf_of(borrower)
    assert (len(limiters), limiters.everybody.borrowed_tokens) == (0, 0)


async def test_a_share_can_be_the_limiter_of_threads(workers) -> None:
    limiters, _ = workers
    limiter: Any = limiters.limiter("a", "ann")
    assert await trio.to_thread.run_sync(lambda: limiters.everybody.borrowed_tokens, limiter=limiter) == 1
    assert len(limiters) == 0
