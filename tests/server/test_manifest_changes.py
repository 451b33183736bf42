"""Changes of a bucket's manifest that come at one time, and stores that hold what the service has not written."""

from __future__ import annotations

import pytest
import trio

from trio_spool._formats import Collection, Scope
from trio_spool.engine import Store, open_engine
from trio_spool.mcbp import Opcode, Status, encode_request
from trio_spool.server.data import Manifest


def manifest(name: str) -> Manifest:
    return Manifest(1, (*Manifest().scopes, Scope(8, "shop", (Collection(8, name),))))


@pytest.mark.parametrize("engine", ["memory", "lmdb"])
async def test_of_two_changes_at_once_one_is_refused(run_service, tmp_path, engine: str) -> None:
    data_dir = tmp_path / "data" if engine == "lmdb" else None
    async with run_service(engine=engine, data_dir=data_dir) as service, service.connect() as one, service.connect() as other:
        for raw, name in ((one, "orders"), (other, "returns")):
            await raw.send(encode_request(Opcode.SET_COLLECTIONS_MANIFEST, value=manifest(name).to_json()))
        statuses = [(await raw.receive()).status for raw in (one, other)]
        assert sorted(statuses) == [Status.OK, Status.RANGE_ERROR]
        kept = "orders" if statuses[0] == Status.OK else "returns"
        assert service.inside.buckets.default.manifest == manifest(kept)


async def test_keys_of_no_collection_are_left_alone(run_service, tmp_path) -> None:
    with open_engine("lmdb", tmp_path / "data", fsync="no") as engine:  # which counts all keys as one space
        engine.execute([Store(b"\0key", b"value")])
    async with run_service(engine="lmdb", data_dir=tmp_path / "data") as service, service.connect() as raw:
        await service.inside.buckets.default.sweep()
        await trio.testing.wait_all_tasks_blocked()
        assert (await raw.call(Opcode.GET, key=b"key")).value == b"value"


async def test_one_that_can_not_be_stored_is_not_used(run_service) -> None:
    async with run_service() as service, service.connect() as raw:
        before = (await raw.call(Opcode.GET_COLLECTIONS_MANIFEST)).value
        service.inside.buckets.default.engine.close()
        new = b'{"uid":"1","scopes":[{"uid":"0","name":"_default","collections":[{"uid":"0","name":"_default"}]}]}'
        assert (await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=new)).status
        assert (await raw.call(Opcode.GET_COLLECTIONS_MANIFEST)).value == before


async def test_a_manifest_that_is_too_long_is_refused_unread(raw) -> None:
    reply = await raw.call(Opcode.SET_COLLECTIONS_MANIFEST, value=b"[" * (1024 * 1024 + 1))
    assert reply.status == Status.INVALID
