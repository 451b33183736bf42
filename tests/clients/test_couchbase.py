"""Couchbase's Python SDK, against a server in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.users import user, write_users
from trio_spool._formats import Collection, Scope
from trio_spool.auth import Role
from trio_spool.mcbp import Opcode, encode_request
from trio_spool.server.data import Manifest

pytest.importorskip("couchbase")

import couchbase.subdocument as SD
from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.durability import DurabilityLevel, ServerDurability
from couchbase.exceptions import (
    AuthenticationException,
    BucketNotFoundException,
    CasMismatchException,
    CollectionNotFoundException,
    CouchbaseException,
    DocumentExistsException,
    DocumentLockedException,
    DocumentNotFoundException,
    DocumentNotJsonException,
    DocumentNotLockedException,
    DurabilityImpossibleException,
    InvalidArgumentException,
    PathExistsException,
    PathMismatchException,
    PathNotFoundException,
    ScopeNotFoundException,
    UnAmbiguousTimeoutException,
)
from couchbase.kv_range_scan import PrefixScan, RangeScan, SamplingScan, ScanTerm
from couchbase.mutation_state import MutationState
from couchbase.options import (
    ClusterOptions,
    DecrementOptions,
    DeltaValue,
    GetAndLockOptions,
    GetOptions,
    IncrementOptions,
    InsertOptions,
    MutateInOptions,
    RemoveOptions,
    ReplaceOptions,
    ScanOptions,
    SignedInt64,
    UpsertOptions,
)
from couchbase.transcoder import RawBinaryTranscoder, RawJSONTranscoder, RawStringTranscoder

SHORT = timedelta(seconds=1)
PATIENT = timedelta(seconds=10)
NAMED = Manifest(1, (*Manifest().scopes, Scope(8, "shop", (Collection(8, "orders"), Collection(300, "short", max_ttl=50)))))


def connect(server: Any, user: str = "anybody", password: str = "anything", scheme: str = "couchbase", **options: Any) -> Cluster:
    """Connect as the SDK's users do."""
    address = next(address for address in server.addresses if address.startswith("tls" if scheme == "couchbases" else "tcp"))
    authenticator = PasswordAuthenticator(user, password, **({"cert_path": options.pop("ca")} if "ca" in options else {}))
    cluster = Cluster(f"{scheme}://127.0.0.1:{address.rsplit(':', 1)[1]}", ClusterOptions(authenticator, **options))
    cluster.wait_until_ready(PATIENT)
    return cluster


def set_manifest(port: int, manifest: Manifest) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(encode_request(Opcode.SET_COLLECTIONS_MANIFEST, value=manifest.to_json()))
        assert connection.recv(24)[6:8] == b"\0\0"


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ..conftest import running

    with running(str(tmp_path_factory.mktemp("couchbase") / "data"), "--listen", "tcp://127.0.0.1:0") as process:
        set_manifest(process.port, NAMED)
        yield process


@pytest.fixture(scope="module")
def cluster(module_server: Any) -> Iterator[Cluster]:
    cluster = connect(module_server)
    yield cluster
    cluster.close()


@pytest.fixture(params=["_default._default", "shop.orders"])
def collection(request: pytest.FixtureRequest, cluster: Cluster) -> Any:
    scope, name = request.param.split(".")
    collection = cluster.bucket("default").scope(scope).collection(name)
    for key in [result.id for result in collection.scan(RangeScan(), ScanOptions(ids_only=True))]:
        try:
            collection.remove(key)
        except DocumentLockedException:
            time.sleep(1)  # a lock that a test left
            collection.remove(key)
    return collection


def test_connecting(cluster: Cluster) -> None:
    bucket = cluster.bucket("default")
    (endpoint,) = next(iter(bucket.ping().endpoints.values()))[:1]
    assert endpoint.state.value == "ok"
    assert cluster.diagnostics().state.value == "online"


def test_documents(collection: Any) -> None:
    stored = collection.upsert("k", {"a": 1})
    found = collection.get("k")
    assert (found.content_as[dict], found.cas) == ({"a": 1}, stored.cas)
    assert collection.exists("k").exists
    assert not collection.exists("none").exists
    with pytest.raises(DocumentExistsException):
        collection.insert("k", 1)
    with pytest.raises(DocumentNotFoundException):
        collection.replace("none", 1)
    with pytest.raises(DocumentNotFoundException):
        collection.get("none")
    with pytest.raises(CasMismatchException):
        collection.replace("k", 1, ReplaceOptions(cas=stored.cas + 1))
    with pytest.raises(CasMismatchException):
        collection.remove("k", RemoveOptions(cas=stored.cas + 1))
    replaced = collection.replace("k", [1, 2], ReplaceOptions(cas=stored.cas))
    assert collection.get("k").content_as[list] == [1, 2]
    collection.remove("k", RemoveOptions(cas=replaced.cas))
    with pytest.raises(DocumentNotFoundException):
        collection.remove("k")
    assert collection.insert("k", 2).cas
    assert collection.get_any_replica("k").content_as[int] == 2
    assert [replica.content_as[int] for replica in collection.get_all_replicas("k")] == [2]


def test_lookups_in_any_replica(collection: Any) -> None:
    """There are no replicas; without the capability, the SDK would not even ask."""
    collection.upsert("k", {"a": {'quoted "key"': [1, 2]}})
    found = collection.lookup_in_any_replica("k", [SD.get('a.quoted \\"key\\"[-1]'), SD.exists("b")])
    assert (found.content_as[int](0), found.exists(1)) == (2, False)
    (everywhere,) = collection.lookup_in_all_replicas("k", [SD.count("a")])
    assert everywhere.content_as[int](0) == 1


@pytest.mark.parametrize(
    ("transcoder", "value"),
    [(RawBinaryTranscoder(), b"\0\xff"), (RawStringTranscoder(), "é"), (RawJSONTranscoder(), '{"a": 1}')],
)
def test_transcoders(collection: Any, transcoder: Any, value: Any) -> None:
    collection.upsert("k", value, UpsertOptions(transcoder=transcoder))
    found = collection.get("k", GetOptions(transcoder=transcoder)).value
    assert (found.decode() if isinstance(value, str) and isinstance(found, bytes) else found) == value


def test_large_and_compressible(collection: Any) -> None:
    value = {"text": "again " * 100_000}
    collection.upsert("k", value)
    assert collection.get("k").content_as[dict] == value


def test_expiry(collection: Any) -> None:
    collection.upsert("k", 1, UpsertOptions(expiry=timedelta(seconds=100)))
    first = collection.get("k", GetOptions(with_expiry=True)).expiryTime.timestamp()
    assert abs(first - time.time() - 100) < 5
    collection.upsert("k", 2, UpsertOptions(preserve_expiry=True))
    assert collection.get("k", GetOptions(with_expiry=True)).expiryTime.timestamp() == first
    collection.mutate_in("k2", [SD.upsert("a", 1)], MutateInOptions(store_semantics=SD.StoreSemantics.UPSERT, expiry=PATIENT))
    assert collection.get("k2", GetOptions(with_expiry=True)).expiryTime is not None
    collection.upsert("k", 3)
    assert collection.get("k", GetOptions(with_expiry=True)).expiryTime is None
    collection.touch("k", timedelta(seconds=50))
    assert collection.get("k", GetOptions(with_expiry=True)).expiryTime is not None
    assert collection.get_and_touch("k", timedelta(0)).content_as[int] == 3
    assert collection.get("k", GetOptions(with_expiry=True)).expiryTime is None
    with pytest.raises(DocumentNotFoundException):
        collection.touch("none", PATIENT)


def test_collection_with_a_longest_time_to_live(cluster: Cluster) -> None:
    collection = cluster.bucket("default").scope("shop").collection("short")
    for options in (UpsertOptions(), UpsertOptions(expiry=timedelta(seconds=1000))):
        collection.upsert("k", 1, options)
        assert collection.get("k", GetOptions(with_expiry=True)).expiryTime.timestamp() - time.time() < 55


def test_projections(collection: Any) -> None:
    collection.upsert("k", {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 3})
    assert collection.get("k", GetOptions(project=["a.b", "d"])).content_as[dict] == {"a": {"b": 1}, "d": [1, 2]}


@pytest.mark.parametrize("level", [DurabilityLevel.MAJORITY, DurabilityLevel.PERSIST_TO_MAJORITY])
def test_durability_of_a_durable_server(collection: Any, level: DurabilityLevel) -> None:
    durability = ServerDurability(level)
    assert collection.upsert("k", 1, UpsertOptions(durability=durability)).cas
    assert collection.replace("k", 2, ReplaceOptions(durability=durability)).cas
    assert collection.insert("k2", 2, InsertOptions(durability=durability)).cas
    assert collection.mutate_in("k3", [SD.upsert("a", 1)], MutateInOptions(
        durability=durability, store_semantics=SD.StoreSemantics.INSERT)).cas  # fmt: skip
    assert collection.remove("k", RemoveOptions(durability=durability)).cas


def test_durability_that_is_not_there(server: Any) -> None:
    cluster = connect(server)  # with --fsync no
    collection = cluster.bucket("default").default_collection()
    assert collection.upsert("k", 1, UpsertOptions(durability=ServerDurability(DurabilityLevel.MAJORITY))).cas
    with pytest.raises(DurabilityImpossibleException):
        collection.upsert("k", 1, UpsertOptions(durability=ServerDurability(DurabilityLevel.PERSIST_TO_MAJORITY)))
    cluster.close()


def test_counters_and_concatenation(collection: Any) -> None:
    binary = collection.binary()
    assert binary.increment("n", IncrementOptions(initial=SignedInt64(5))).content == 5
    assert binary.increment("n", IncrementOptions(delta=DeltaValue(3))).content == 8
    assert binary.decrement("n", DecrementOptions(delta=DeltaValue(10))).content == 0
    with pytest.raises(DocumentNotFoundException):
        binary.increment("m", IncrementOptions(initial=SignedInt64(-1)))
    raw = RawStringTranscoder()
    collection.upsert("s", "b", UpsertOptions(transcoder=raw))
    binary.append("s", "c")
    binary.prepend("s", "a")
    assert collection.get("s", GetOptions(transcoder=raw)).value == "abc"
    with pytest.raises(CouchbaseException):
        binary.append("none", "x")


def test_multi(collection: Any) -> None:
    documents = {f"k{number}": number for number in range(50)}
    assert collection.upsert_multi(documents).all_ok
    assert {key: result.value for key, result in collection.get_multi(list(documents)).results.items()} == documents
    assert not collection.insert_multi({"k1": 1, "new": 2}).all_ok
    assert collection.replace_multi({"k1": 10}).all_ok
    assert collection.touch_multi(["k1"], PATIENT).all_ok
    assert collection.exists_multi(["k1", "new"]).all_ok
    assert collection.remove_multi(["k1", "new"]).all_ok
    locked = collection.get_and_lock_multi(["k2"], PATIENT)
    assert locked.all_ok
    collection.unlock_multi({key: result.cas for key, result in locked.results.items()})
    assert collection.upsert("k2", 5, UpsertOptions(timeout=SHORT)).cas


def test_lookups(collection: Any) -> None:
    collection.upsert("k", {"a": {"b": [1, 2, {"c": True}]}, "é": "x"})
    found = collection.lookup_in(
        "k", [SD.get("a.b[2].c"), SD.exists("a.z"), SD.count("a.b"), SD.get("a.b[-1]"), SD.get("é"), SD.get("")]
    )
    assert found.content_as[bool](0) is True
    assert not found.exists(1)
    assert found.content_as[int](2) == 3
    assert found.content_as[dict](3) == {"c": True}
    assert found.content_as[str](4) == "x"
    assert found.content_as[dict](5)["é"] == "x"
    with pytest.raises(PathNotFoundException):
        collection.lookup_in("k", [SD.get("zz")]).content_as[int](0)
    with pytest.raises(PathMismatchException):
        collection.lookup_in("k", [SD.get("a[0]")]).content_as[int](0)
    with pytest.raises(DocumentNotFoundException):
        collection.lookup_in("none", [SD.get("a")])
    collection.upsert("raw", b"\0", UpsertOptions(transcoder=RawBinaryTranscoder()))
    with pytest.raises(DocumentNotJsonException):
        collection.lookup_in("raw", [SD.get("a")]).content_as[int](0)


def test_mutations_at_paths(collection: Any) -> None:
    collection.upsert("k", {"l": [1], "o": {}})
    result = collection.mutate_in(
        "k",
        [
            SD.array_append("l", 2, 3), SD.array_prepend("l", 0), SD.array_insert("l[1]", "i"), SD.array_addunique("l", 9),
            SD.increment("n", 4), SD.decrement("n", 1), SD.insert("o.x", 1), SD.replace("o.x", 2),
            SD.upsert("deep.er.path", True, create_parents=True), SD.upsert("gone", 1), SD.remove("gone"),
        ],
    )  # fmt: skip
    assert result.content_as[int](4) == 4
    assert result.content_as[int](5) == 3
    assert collection.get("k").content_as[dict] == {
        "l": [0, "i", 1, 2, 3, 9], "o": {"x": 2}, "n": 3, "deep": {"er": {"path": True}},
    }  # fmt: skip
    before = collection.get("k").cas
    with pytest.raises(PathNotFoundException):
        collection.mutate_in("k", [SD.upsert("a", 1), SD.replace("zz", 1)])
    with pytest.raises(PathExistsException):
        collection.mutate_in("k", [SD.insert("n", 1)])
    with pytest.raises(CasMismatchException):
        collection.mutate_in("k", [SD.upsert("a", 1)], MutateInOptions(cas=before + 1))
    assert collection.get("k").cas == before
    with pytest.raises(DocumentNotFoundException):
        collection.mutate_in("none", [SD.upsert("a", 1)])
    with pytest.raises(DocumentExistsException):
        collection.mutate_in("k", [SD.upsert("a", 1)], MutateInOptions(store_semantics=SD.StoreSemantics.INSERT))


def test_extended_attributes(collection: Any) -> None:
    collection.upsert("k", {"a": 1})
    result = collection.mutate_in(
        "k", [SD.upsert("my.x", {"y": 1}, xattr=True, create_parents=True), SD.upsert("cas", SD.MutationMacro.cas(), xattr=True)]
    )
    found = collection.lookup_in(
        "k", [SD.get("my.x.y", xattr=True), SD.get("cas", xattr=True), SD.get("$document", xattr=True), SD.get("a")]
    )
    assert found.content_as[int](0) == 1
    assert found.content_as[str](1) == "0x" + result.cas.to_bytes(8, "little").hex()
    document = found.content_as[dict](2)
    assert (document["CAS"], document["value_bytes"], document["flags"]) == (f"0x{result.cas:016x}", 8, 0x2000000)
    assert found.content_as[int](3) == 1
    assert collection.get("k").content_as[dict] == {"a": 1}  # they do not show
    collection.upsert("k", {"a": 2})
    assert collection.lookup_in("k", [SD.get("my.x.y", xattr=True)]).content_as[int](0) == 1  # and they stay


def test_locks(collection: Any) -> None:
    collection.upsert("k", 1)
    locked = collection.get_and_lock("k", timedelta(seconds=20))
    assert locked.content_as[int] == 1
    for attempt in (
        lambda: collection.get_and_lock("k", PATIENT, GetAndLockOptions(timeout=SHORT)),
        lambda: collection.upsert("k", 2, UpsertOptions(timeout=SHORT)),
        lambda: collection.remove("k", RemoveOptions(timeout=SHORT)),
    ):
        with pytest.raises((DocumentLockedException, UnAmbiguousTimeoutException)):
            attempt()
    with pytest.raises((DocumentLockedException, CasMismatchException)):
        collection.unlock("k", locked.cas + 1)
    collection.unlock("k", locked.cas)
    with pytest.raises((DocumentNotLockedException, CouchbaseException)):
        collection.unlock("k", locked.cas)
    locked = collection.get_and_lock("k", timedelta(seconds=20))
    assert collection.replace("k", 3, ReplaceOptions(cas=locked.cas)).cas != locked.cas
    assert collection.upsert("k", 4).cas


def test_scans(collection: Any) -> None:
    keys = [f"{prefix}{number:03}" for prefix in ("a", "b") for number in range(120)]
    assert collection.upsert_multi({key: {"key": key} for key in keys}).all_ok

    def ids(scan: Any, **options: Any) -> list[str]:
        return [result.id for result in collection.scan(scan, ScanOptions(**options))]

    assert ids(RangeScan(), ids_only=True) == keys
    assert ids(PrefixScan("a01"), ids_only=True) == [f"a01{digit}" for digit in range(10)]
    limits = {"start": ScanTerm("a005"), "end": ScanTerm("a010", exclusive=True)}
    assert ids(RangeScan(**limits)) == ["a005", "a006", "a007", "a008", "a009"]
    assert ids(RangeScan(), batch_item_limit=7, batch_byte_limit=100) == keys
    assert 0 < len(ids(SamplingScan(20, seed=5))) <= 20
    assert ids(SamplingScan(20, seed=5)) == ids(SamplingScan(20, seed=5))
    assert all(result.content_as[dict] == {"key": result.id} for result in collection.scan(RangeScan()))
    written = collection.upsert("zz", 1)
    assert ids(PrefixScan("zz"), consistent_with=MutationState(written)) == ["zz"]
    iterator = collection.scan(RangeScan())
    next(iter(iterator))
    iterator.cancel_scan()
    assert collection.get("zz").content_as[int] == 1


def test_what_is_not_there(cluster: Cluster) -> None:
    bucket = cluster.bucket("default")
    with pytest.raises(ScopeNotFoundException):
        bucket.scope("nope").collection("orders").get("k", GetOptions(timeout=SHORT))
    with pytest.raises((CollectionNotFoundException, UnAmbiguousTimeoutException)):  # it asks again until its time is up
        bucket.scope("shop").collection("nope").get("k", GetOptions(timeout=SHORT))
    with pytest.raises(BucketNotFoundException):
        cluster.bucket("nope")


def test_classic_clients_see_the_same_documents(module_server: Any, collection: Any) -> None:
    if collection.name != "_default":
        pytest.skip("classic clients have the default collection")
    import bmemcached

    client = bmemcached.Client((f"127.0.0.1:{module_server.port}",))
    collection.upsert("k", {"a": 1})
    assert client.get("k", get_cas=False) is not None
    client.disconnect_all()


def test_async(module_server: Any) -> None:
    from acouchbase.cluster import Cluster as AsyncCluster

    async def main() -> None:
        options = ClusterOptions(PasswordAuthenticator("anybody", "anything"))
        cluster = await AsyncCluster.connect(f"couchbase://127.0.0.1:{module_server.port}", options)
        bucket = cluster.bucket("default")
        await bucket.on_connect()
        collection = bucket.default_collection()
        await asyncio.gather(*(collection.upsert(f"async{number}", number) for number in range(100)))
        assert (await collection.get("async7")).content_as[int] == 7
        assert (await collection.lookup_in("async7", [SD.get("")])).content_as[int](0) == 7
        with pytest.raises(DocumentNotFoundException):
            await collection.get("nope")
        # The SDK submits a scan with the interpreter's lock held, and blocks until its own thread has done with the last answer,
        # which needs that lock: there is nothing to wait for but time.
        await asyncio.sleep(0.5)
        found = [result.id async for result in collection.scan(PrefixScan("async"))]
        assert len(found) == 100
        await asyncio.sleep(0.5)
        await cluster.close()

    asyncio.run(main())


@pytest.fixture
def users(tmp_path: Path) -> Path:
    writer = user("writer", Role.READ, Role.WRITE, password="pässword")
    return write_users(tmp_path / "users.json", writer, user("reader", Role.READ, password="re,a=d"))


@pytest.fixture
def certificates(authority: Authority) -> tuple[Path, Path, Path]:
    return *authority.issue("localhost", "127.0.0.1", "localhost"), authority.ca_file


def test_logins(start: Callable[..., Any], users: Path) -> None:
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--users", str(users)) as server:
        writer = connect(server, "writer", "pässword")
        writer.bucket("default").default_collection().upsert("k", 1)
        reader = connect(server, "reader", "re,a=d")
        collection = reader.bucket("default").default_collection()
        assert collection.get("k").content_as[int] == 1
        with pytest.raises(AuthenticationException):  # is what the SDK makes of "no access"
            collection.upsert("k", 2)
        for name, password in (("writer", "wrong"), ("nobody", "wrong")):
            with pytest.raises(AuthenticationException):
                connect(server, name, password)
        writer.close()
        reader.close()


def test_tls(start: Callable[..., Any], users: Path, certificates: tuple[Path, Path, Path]) -> None:
    cert, key, ca = certificates
    listen = ("--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0")
    files = ("--tls-cert", str(cert), "--tls-key", str(key), "--users", str(users))
    with start("--engine", "memory", *listen, *files, listeners=2) as server:
        for mechanisms in (None, ["PLAIN"], ["SCRAM-SHA512"], ["SCRAM-SHA256"], ["SCRAM-SHA1"]):
            options: dict[str, Any] = {"ca": str(ca)}
            if mechanisms:
                options["allowed_sasl_mechanisms"] = mechanisms
            cluster = connect_with(server, options)
            collection = cluster.bucket("default").default_collection()
            collection.upsert("k", "v" * 100_000)
            assert collection.get("k").content_as[str] == "v" * 100_000
            cluster.close()


def connect_with(server: Any, options: dict[str, Any]) -> Cluster:
    mechanisms = options.get("allowed_sasl_mechanisms")
    port = server.addresses[1].rsplit(":", 1)[1]
    extra = {"allowed_sasl_mechanisms": mechanisms} if mechanisms else {}
    authenticator = PasswordAuthenticator("writer", "pässword", cert_path=options["ca"], **extra)
    cluster = Cluster(f"couchbases://127.0.0.1:{port}", ClusterOptions(authenticator))
    cluster.wait_until_ready(PATIENT)
    return cluster


def test_a_restart_in_the_middle(start: Callable[..., Any], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with start(str(tmp_path / "data"), "--listen", address) as server:
        cluster = connect(server)
        collection = cluster.bucket("default").default_collection()
        token = collection.upsert("k", 1).mutation_token()
    with start(str(tmp_path / "data"), "--listen", address):
        assert collection.get("k", GetOptions(timeout=PATIENT)).content_as[int] == 1
        again = collection.upsert("k", 2, UpsertOptions(timeout=PATIENT)).mutation_token()
        assert again.as_dict()["partition_uuid"] == token.as_dict()["partition_uuid"]
        assert again.as_dict()["sequence_number"] > token.as_dict()["sequence_number"]
        cluster.close()


@pytest.mark.parametrize("vbuckets", [3, 64])
def test_several_vbuckets(start: Callable[..., Any], vbuckets: int) -> None:
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--vbuckets", str(vbuckets)) as server:
        cluster = connect(server)
        collection = cluster.bucket("default").default_collection()
        keys = {f"k{number}" for number in range(200)}
        assert collection.upsert_multi(dict.fromkeys(keys, 1)).all_ok
        found = [result.id for result in collection.scan(RangeScan())]
        assert len(found) == 200
        assert set(found) == keys
        assert 0 < len(list(collection.scan(SamplingScan(50)))) <= 50
        cluster.close()


@pytest.mark.parametrize("vbuckets", [1, 16])
def test_a_planned_stop_in_the_middle_of_a_scan(start: Callable[..., Any], vbuckets: int) -> None:
    """The SDK takes a connection that closes for the end of the scan, and says nothing."""
    arguments = ("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--vbuckets", str(vbuckets), "--drain-timeout", "60")
    with start(*arguments) as server:
        cluster = connect(server)
        collection = cluster.bucket("default").default_collection()
        assert collection.upsert_multi(dict.fromkeys((f"k{number}" for number in range(3000)), "v" * 50)).all_ok
        found = 0
        for _ in collection.scan(RangeScan()):
            found += 1
            if found == 101:
                server.popen.send_signal(signal.SIGTERM)
        assert found == 3000
        cluster.close()
        assert server.popen.wait(60) == 0


def test_invalid_arguments(collection: Any) -> None:
    with pytest.raises((InvalidArgumentException, CouchbaseException)):
        collection.upsert("k" * 251, 1, UpsertOptions(timeout=SHORT))
