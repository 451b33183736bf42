"""The management port: buckets, scopes and collections, and Couchbase's own sentences for what goes wrong."""

from __future__ import annotations

import json

import pytest
import structlog
import trio

from support.engines import Hooks
from support.managing import managing
from trio_spool.engine import Outcome, Problem
from trio_spool.mcbp import Feature, Opcode, Status

MANAGEMENT = "tcp://127.0.0.1:0"
BUCKETS = "/pools/default/buckets"
SCOPES = f"{BUCKETS}/default/scopes"


@pytest.fixture
async def service(run_service):
    async with run_service(management=MANAGEMENT) as served:
        yield served


@pytest.fixture
async def manager(service):
    async with managing(service) as manager:
        yield manager


async def scopes(manager, bucket: str = "default") -> dict[str, dict[str, int]]:
    manifest = await manager.get(f"{BUCKETS}/{bucket}/scopes")
    return {scope["name"]: {each["name"]: each.get("maxTTL", 0) for each in scope["collections"]} for scope in manifest["scopes"]}


async def test_the_root_says_that_somebody_is_there(manager) -> None:
    answer = await manager.ask("GET", "/")
    assert (answer.status, answer.body) == (200, b"")
    assert (await manager.get("/pools"))["pools"] == [{"name": "default", "uri": "/pools/default"}]
    pool = await manager.get("/pools/default")
    assert [(node["hostname"], node["services"]) for node in pool["nodes"]] == [("here", ["kv"])]
    assert [bucket["bucketName"] for bucket in pool["bucketNames"]] == ["default"]


async def test_the_configuration_names_it_to_those_who_can_reach_it(service, raw) -> None:
    await raw.hello(Feature.JSON)
    (node,) = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)["nodesExt"]
    assert node["services"] == {"kv": service.port, "mgmt": service.inside.entrances[0].inside}


# Buckets


async def test_a_bucket_is_made_and_changed_and_deleted(manager, raw) -> None:
    assert (await manager.ask("POST", BUCKETS, {"name": "shop", "ramQuotaMB": 100, "bucketType": "couchbase"})).status == 202
    assert (await raw.call(Opcode.SELECT_BUCKET, key=b"shop")).status == 0
    assert [bucket["name"] for bucket in await manager.get(BUCKETS)] == ["default", "shop"]
    shop = await manager.get(f"{BUCKETS}/shop")
    assert (shop["bucketType"], shop["quota"]["rawRAM"], shop["controllers"]) == ("membase", 100 << 20, {})
    form = b"&ramQuotaMB=256&replicaNumber=0&maxTTL=0&replicaIndex=0&flushEnabled=1&evictionPolicy=fullEviction&durabilityMinLevel=none"
    assert (await manager.ask("POST", f"{BUCKETS}/shop", form)).status == 200
    shop = await manager.get(f"{BUCKETS}/shop")
    assert shop["quota"]["rawRAM"] == 256 << 20
    assert shop["controllers"] == {"flush": f"{BUCKETS}/shop/controller/doFlush"}
    assert (await manager.ask("DELETE", f"{BUCKETS}/shop")).status == 200
    assert await raw.closed()  # it worked on that bucket
    assert await manager.refused("DELETE", f"{BUCKETS}/shop") == (404, "no bucket is named 'shop'")
    status, sentence = await manager.refused("GET", f"{BUCKETS}/shop")
    assert (status, sentence) == (404, "no bucket is named 'shop', or this user may not use it")


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": "default"}, "Bucket with given name already exists"),
        ({"name": ""}, "can't be the name of a bucket"),
        ({"name": "a/b"}, "can't be the name of a bucket"),
        ({"name": "a", "replicaNumber": 1}, "without replicas: replicaNumber must be 0; got 1"),
        ({"name": "a", "maxTTL": 5}, "give its collections one"),
        ({"name": "a", "durabilityMinLevel": "majority"}, "--fsync holds"),
        ({"name": "a", "conflictResolutionType": "lww"}, "must be seqno"),
        ({"name": "a", "bucketType": "memcached"}, "bucketType must be couchbase"),
        ({"name": "a", "ramQuotaMB": "many"}, "whole number of MiB"),
        ({"name": "a", "ramQuotaMB": "9" * 30}, "whole number of MiB"),
        ({"name": "a", "ramQuotaMB": "٣"}, "whole number of MiB"),
        ({"name": "a", "flushEnabled": "yes"}, "must be 0 or 1"),
        ({"name": "a", "numVBuckets": 1024}, "must be 1, as --vbuckets says"),
        ({"name": "a", "wonders": 1}, "not known here"),
        (b"\xff\xfe", "not a form"),
        (b"name=%ff", "not a form"),
        (b"&".join(b"a%d=1" % number for number in range(100)), "not a form"),
    ],
)
async def test_a_bucket_that_can_not_be_made(manager, form, sentence: str) -> None:
    status, told = await manager.refused("POST", BUCKETS, form)
    assert status == 400
    assert sentence in told
    assert [bucket["name"] for bucket in await manager.get(BUCKETS)] == ["default"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_a_body_of_another_type_is_refused(manager, kind: str) -> None:
    answer = await manager.ask("POST", BUCKETS, b'{"name": "a"}', **{"Content-Type": kind})
    assert (answer.status, b"application/x-www-form-urlencoded" in answer.body) == (415, True)
    form = {"Content-Type": "Application/X-WWW-Form-URLEncoded; charset=utf-8"}
    assert (await manager.ask("POST", BUCKETS, b"name=a", **form)).status == 202


async def test_the_default_bucket_is_not_deleted(manager) -> None:
    assert await manager.refused("DELETE", f"{BUCKETS}/default") == (400, "the bucket default can't be deleted; empty it instead")


async def test_a_bucket_is_emptied(manager, raw) -> None:
    assert (await raw.call(Opcode.SET, key=b"a", extras=bytes(8))).status == 0
    assert (await manager.ask("POST", f"{BUCKETS}/default/controller/doFlush")).status == 200
    assert (await raw.call(Opcode.GET, key=b"a")).status == Status.NOT_FOUND
    await manager.ask("POST", f"{BUCKETS}/default", {"flushEnabled": 0})
    assert await manager.refused("POST", f"{BUCKETS}/default/controller/doFlush") == (400, "Flush is disabled for the bucket")


async def test_a_server_that_does_not_flush(run_service) -> None:
    async with run_service(management=MANAGEMENT, disable_flush=True) as served, managing(served) as manager:
        assert await manager.refused("POST", f"{BUCKETS}/default/controller/doFlush") == (400, "Flush is disabled for the bucket")
        status, sentence = await manager.refused("POST", BUCKETS, {"name": "a", "flushEnabled": 1})
        assert (status, "--disable-flush" in sentence) == (400, True)
        assert (await manager.get(f"{BUCKETS}/default"))["controllers"] == {}


async def test_options_survive_a_restart(run_service, tmp_path) -> None:
    for number in range(2):
        async with run_service(management=MANAGEMENT, data_dir=tmp_path / "data") as served, managing(served) as manager:
            if not number:
                await manager.ask("POST", BUCKETS, {"name": "shop", "ramQuotaMB": 128})
                await manager.ask("POST", f"{BUCKETS}/shop/scopes", {"name": "orders"})
                status, sentence = await manager.refused("POST", BUCKETS, {"name": "b", "bucketType": "ephemeral"})
                assert (status, "on disk" in sentence) == (400, True)
            shop = await manager.get(f"{BUCKETS}/shop")
            assert (shop["quota"]["rawRAM"], shop["controllers"]) == (128 << 20, {})
            assert await scopes(manager, "shop") == {"_default": {"_default": 0}, "orders": {}}


async def test_a_bucket_in_memory_may_be_called_ephemeral(manager) -> None:
    assert (await manager.ask("POST", BUCKETS, {"name": "shop", "bucketType": "ephemeral"})).status == 202
    assert (await manager.get(f"{BUCKETS}/shop"))["bucketType"] == "ephemeral"


# Scopes and collections


async def test_scopes_and_collections(manager, raw) -> None:
    assert json.loads((await manager.ask("POST", SCOPES, {"name": "shop"})).body) == {"uid": "1"}
    assert json.loads((await manager.ask("POST", f"{SCOPES}/shop/collections", {"name": "orders", "maxTTL": 60})).body) == {
        "uid": "2"
    }
    await manager.ask("POST", f"{SCOPES}/shop/collections", {"name": "carts", "maxTTL": -1, "history": "false"})
    await manager.ask("POST", f"{SCOPES}/_default/collections", {"name": "more%41"})
    found = {"_default": {"_default": 0, "more%41": 0}, "shop": {"orders": 60, "carts": 0}}
    assert await scopes(manager) == found
    await raw.call(Opcode.SELECT_BUCKET, key=b"default")
    assert json.loads((await raw.call(Opcode.GET_COLLECTIONS_MANIFEST)).value) == await manager.get(SCOPES)

    assert json.loads((await manager.ask("PATCH", f"{SCOPES}/shop/collections/orders", {"maxTTL": 90})).body) == {"uid": "5"}
    assert json.loads((await manager.ask("PATCH", f"{SCOPES}/shop/collections/orders", {})).body) == {"uid": "5"}
    assert (await scopes(manager))["shop"] == {"orders": 90, "carts": 0}
    assert (await manager.ask("POST", f"{SCOPES}/@ensureManifest/5")).status == 200
    assert (await manager.ask("DELETE", f"{SCOPES}/_default/collections/more%2541")).status == 200
    assert (await manager.ask("DELETE", f"{SCOPES}/shop/collections/carts")).status == 200
    assert await scopes(manager) == {"_default": {"_default": 0}, "shop": {"orders": 90}}
    assert (await manager.ask("DELETE", f"{SCOPES}/shop")).status == 200
    assert await scopes(manager) == {"_default": {"_default": 0}}


async def test_ids_are_never_used_again(manager) -> None:
    seen: list[str] = []
    for _ in range(3):
        await manager.ask("POST", SCOPES, {"name": "shop"})
        await manager.ask("POST", f"{SCOPES}/shop/collections", {"name": "orders"})
        scope = (await manager.get(SCOPES))["scopes"][1]
        seen += [scope["uid"], scope["collections"][0]["uid"]]
        await manager.ask("DELETE", f"{SCOPES}/shop")
    assert len(set(seen)) == 6
    assert min(int(uid, 16) for uid in seen) >= 8  # Couchbase reserves those below


@pytest.mark.parametrize(
    ("method", "path", "form", "status", "sentence"),
    [
        ("POST", "", {"name": "shop"}, 400, 'Scope with name "shop" already exists'),
        ("POST", "", {"name": "_shop"}, 400, "can't be the name of a scope"),
        ("POST", "", {}, 400, "can't be the name of a scope"),
        ("DELETE", "/none", None, 404, 'Scope with name "none" is not found'),
        ("DELETE", "/_default", None, 400, "Deleting _default scope is not allowed"),
        ("POST", "/none/collections", {"name": "a"}, 404, 'Scope with name "none" is not found'),
        ("POST", "/shop/collections", {"name": "orders"}, 400, 'Collection with name "orders" in scope "shop" already exists'),
        ("POST", "/shop/collections", {"name": "a.b"}, 400, "can't be the name of a scope or collection"),
        ("POST", "/shop/collections", {"name": "a", "maxTTL": "-2"}, 400, "maxTTL is a whole number of seconds"),
        ("POST", "/shop/collections", {"name": "a", "maxTTL": 1 << 31}, 400, "maxTTL is a whole number of seconds"),
        ("POST", "/shop/collections", {"name": "a", "history": "true"}, 400, "history of documents"),
        ("PATCH", "/none/collections/orders", {"maxTTL": 1}, 404, 'Scope with name "none" is not found'),
        ("PATCH", "/shop/collections/none", {"maxTTL": 1}, 404, 'Collection with name "none" in scope "shop" is not found'),
        ("PATCH", "/shop/collections/none", {}, 404, 'Collection with name "none" in scope "shop" is not found'),
        ("DELETE", "/none/collections/orders", None, 404, 'Scope with name "none" is not found'),
        ("DELETE", "/shop/collections/none", None, 404, 'Collection with name "none" in scope "shop" is not found'),
        ("DELETE", "/_default/collections/_default", None, 400, "can't be dropped"),
        ("POST", "/@ensureManifest/ff", None, 504, "no change is under way"),
        ("POST", "/@ensureManifest/x", None, 400, "hexadecimal"),
    ],
)
async def test_what_goes_wrong_is_said_as_couchbase_says_it(manager, method, path, form, status, sentence) -> None:
    await manager.ask("POST", SCOPES, {"name": "shop"})
    await manager.ask("POST", f"{SCOPES}/shop/collections", {"name": "orders"})
    before = await manager.get(SCOPES)
    told = await manager.refused(method, SCOPES + path, form)
    assert told[0] == status
    assert sentence in told[1]
    assert await manager.get(SCOPES) == before


async def test_changes_at_the_same_time_are_all_made(service, manager) -> None:
    names = [f"c{number}" for number in range(20)]

    async def create(name: str) -> None:
        async with managing(service) as another:
            assert (await another.ask("POST", f"{SCOPES}/_default/collections", {"name": name})).status == 200

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(create, name)
    assert set((await scopes(manager))["_default"]) == {"_default", *names}
    assert (await manager.get(SCOPES))["uid"] == "14"


async def test_a_store_that_has_failed(run_service) -> None:
    hooks = Hooks()
    async with run_service(management=MANAGEMENT, engine=hooks.kind()) as served, managing(served) as manager:
        await manager.ask("POST", SCOPES, {"name": "shop"})

        def submit(operations, done) -> None:
            done([Outcome(Problem.NO_SPACE)] * len(operations))

        hooks.engines[0].submit = submit
        for method, path, form in (
            ("POST", SCOPES, {"name": "more"}),
            ("POST", f"{SCOPES}/shop/collections", {"name": "orders"}),
            ("DELETE", f"{SCOPES}/shop", None),
            ("POST", f"{BUCKETS}/default", {"ramQuotaMB": 5}),
            ("POST", f"{BUCKETS}/default/controller/doFlush", None),
        ):
            status, _ = await manager.refused(method, path, form)
            assert status == 503, path
        assert await manager.refused("POST", SCOPES, {"name": "more"}) == (
            503, "the change of collections could not be stored: the disk is full",
        )  # fmt: skip
        assert await scopes(manager) == {"_default": {"_default": 0}, "shop": {}}


async def test_a_broken_bucket_is_refused_and_can_be_deleted(run_service, tmp_path) -> None:
    options = {"management": MANAGEMENT, "data_dir": tmp_path / "data", "fsync": "no"}
    async with run_service(**options) as served, managing(served) as manager:
        await manager.ask("POST", BUCKETS, {"name": "shop"})
    (tmp_path / "data" / "buckets" / "shop" / "data.mdb").write_bytes(b"garbage" * 10_000)
    async with run_service(**options) as served, managing(served) as manager:
        assert [bucket["name"] for bucket in await manager.get(BUCKETS)] == ["default"]
        assert await manager.refused("GET", f"{BUCKETS}/shop") == (503, "the bucket 'shop' is broken; the server's log says why")
        assert await manager.refused("POST", BUCKETS, {"name": "shop"}) == (400, "Bucket with given name already exists")
        assert (await manager.ask("DELETE", f"{BUCKETS}/shop")).status == 200
        assert (await manager.ask("POST", BUCKETS, {"name": "shop"})).status == 202


# What is not here


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("POST", "/query/service", 501, "no query service"),
        ("GET", "/admin/settings", 501, "no query service"),
        ("GET", "/api/index", 501, "no search service"),
        ("POST", "/analytics/service", 501, "no analytics service"),
        ("GET", "/api/v1/functions", 501, "no eventing service"),
        ("GET", "/settings/rbac/users/local", 501, "trio-spool user"),
        ("GET", f"{BUCKETS}/default/ddocs", 501, "no views"),
        ("GET", f"{BUCKETS}/default/docs", 501, "not available here"),
        ("GET", "/pools/default/tasks", 501, "not available here"),
        ("GET", "/favicon.ico", 404, "nothing is here"),
        ("GET", "//pools", 404, "nothing is here"),
        ("GET", f"{BUCKETS}/", 501, "not available here"),
        ("PUT", SCOPES, 405, "this path takes GET, POST, not PUT"),
        ("GET", "/%ff", 400, "not UTF-8"),
    ],
)
async def test_what_is_not_here_says_so(manager, method, path, status, sentence) -> None:
    told = await manager.refused(method, path)
    assert told[0] == status
    assert sentence in told[1]


async def test_pages_of_browsers_are_refused(manager) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await manager.ask("POST", BUCKETS, {"name": "mine"}, **headers)
        assert answer.status == 403
    assert (await manager.ask("GET", BUCKETS, **{"Sec-Fetch-Site": "none"})).status == 200  # typed by the user
    assert len(await manager.get(BUCKETS)) == 1


async def test_changes_are_logged(run_service) -> None:
    async with run_service(management=MANAGEMENT, log_level="info") as served, managing(served) as manager:
        with structlog.testing.capture_logs() as logs:
            await manager.ask("POST", SCOPES, {"name": "shop"})
            await manager.get(SCOPES)
    lines = [(line["path"], line["status"]) for line in logs if line["event"] == "management"]
    assert lines == [(SCOPES, 200)]
