"""The bucket and collection managers of Couchbase's Python SDK, against the management port of a server in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.forwarder import forwarding
from support.process import running
from support.users import BOB, PASSWORD, user, write_users
from trio_spool.auth import Role

pytest.importorskip("couchbase")

from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.diagnostics import PingState, ServiceType
from couchbase.exceptions import (
    AuthenticationException,
    BucketAlreadyExistsException,
    BucketNotFlushableException,
    BucketNotFoundException,
    CollectionAlreadyExistsException,
    CollectionNotFoundException,
    CouchbaseException,
    DocumentNotFoundException,
    InvalidArgumentException,
    ScopeAlreadyExistsException,
    ScopeNotFoundException,
    ServiceUnavailableException,
)
from couchbase.management.buckets import BucketSettings, BucketType, CreateBucketSettings
from couchbase.management.collections import CreateCollectionSettings, UpdateCollectionSettings
from couchbase.options import ClusterOptions

PATIENT = timedelta(seconds=20)
ADDRESSES = ("--listen=tcp://127.0.0.1:0", "--management=tcp://127.0.0.1:0")
MEMORY = ("--engine=memory", *ADDRESSES)


def connect(address: str, login: tuple[str, str] = ("anybody", "anything"), **options: str) -> Cluster:
    cluster = Cluster(address, ClusterOptions(PasswordAuthenticator(*login, **options)))
    cluster.wait_until_ready(PATIENT)
    return cluster


@contextmanager
def connected(start: Callable[..., AbstractContextManager[Any]], *words: str, **login: Any) -> Iterator[Cluster]:
    with start(*words, listeners=2) as process:
        cluster = connect(f"couchbase://{process.address}", **login)
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with connected(running, *MEMORY) as cluster:
        yield cluster


def names(manager: Any) -> list[str]:
    return sorted(bucket.name for bucket in manager.get_all_buckets())


def scopes(bucket: Any) -> dict[str, dict[str, timedelta]]:
    return {
        scope.name: {each.name: each.max_expiry for each in scope.collections} for scope in bucket.collections().get_all_scopes()
    }


def test_ping_and_diagnostics(cluster: Cluster) -> None:
    endpoints = cluster.ping().endpoints
    assert set(endpoints) == {ServiceType.KeyValue, ServiceType.Management}
    assert [each.state for each in endpoints[ServiceType.Management]] == [PingState.OK]
    assert ServiceType.KeyValue in cluster.diagnostics().endpoints
    info = cluster.cluster_info()
    assert [node["services"] for node in info.nodes] == [["kv"]]
    assert info.server_version_short >= 1


def test_buckets(cluster: Cluster) -> None:
    manager = cluster.buckets()
    manager.create_bucket(CreateBucketSettings(name="shop", ram_quota_mb=100, bucket_type=BucketType.COUCHBASE))
    assert names(manager) == ["default", "shop"]
    with pytest.raises(BucketAlreadyExistsException):
        manager.create_bucket(CreateBucketSettings(name="shop", ram_quota_mb=100))
    found = manager.get_bucket("shop")
    assert (found.bucket_type, found.ram_quota_mb, found.num_replicas, found.flush_enabled) == (BucketType.COUCHBASE, 100, 0, False)
    collection = cluster.bucket("shop").default_collection()
    collection.upsert("k", 1)
    with pytest.raises(BucketNotFlushableException):
        manager.flush_bucket("shop")
    manager.update_bucket(BucketSettings(name="shop", flush_enabled=True, ram_quota_mb=256))
    found = manager.get_bucket("shop")
    assert (found.flush_enabled, found.ram_quota_mb) == (True, 256)
    manager.flush_bucket("shop")
    with pytest.raises(DocumentNotFoundException):
        collection.get("k")
    manager.update_bucket(found)  # as it was read
    manager.drop_bucket("shop")
    for ask in (manager.get_bucket, manager.drop_bucket, manager.flush_bucket):
        with pytest.raises(BucketNotFoundException):
            ask("shop")
    assert names(manager) == ["default"]


@pytest.mark.parametrize(
    "settings", [{"name": "a", "num_replicas": 1}, {"name": "a b"}, {"name": "a", "max_expiry": timedelta(seconds=5)}]
)
def test_buckets_that_can_not_be_made(cluster: Cluster, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentException) as caught:
        cluster.buckets().create_bucket(CreateBucketSettings(ram_quota_mb=100, **settings))
    assert "errors" in str(caught.value)  # the sentence of the server
    assert "a" not in names(cluster.buckets())


def test_scopes_and_collections(cluster: Cluster) -> None:
    bucket = cluster.bucket("default")
    manager = bucket.collections()
    manager.create_scope("sales")
    with pytest.raises(ScopeAlreadyExistsException):
        manager.create_scope("sales")
    manager.create_collection("sales", "orders")
    manager.create_collection("sales", "carts", CreateCollectionSettings(max_expiry=timedelta(minutes=1)))
    with pytest.raises(CollectionAlreadyExistsException):
        manager.create_collection("sales", "orders")
    with pytest.raises(ScopeNotFoundException):
        manager.create_collection("none", "orders")
    with pytest.raises(InvalidArgumentException):
        manager.create_scope("_none")
    zero = timedelta()
    assert scopes(bucket)["sales"] == {"orders": zero, "carts": timedelta(minutes=1)}

    orders = bucket.scope("sales").collection("orders")
    orders.upsert("1", {"total": 12})
    assert orders.get("1").content_as[dict] == {"total": 12}
    manager.update_collection("sales", "orders", UpdateCollectionSettings(max_expiry=timedelta(hours=1)))
    assert scopes(bucket)["sales"]["orders"] == timedelta(hours=1)
    orders.upsert("2", {})
    assert orders.get("1").content_as[dict] == {"total": 12}

    manager.drop_collection("sales", "carts")
    with pytest.raises(CollectionNotFoundException):
        manager.drop_collection("sales", "carts")
    with pytest.raises(CollectionNotFoundException):
        manager.update_collection("sales", "carts", UpdateCollectionSettings(max_expiry=zero))
    manager.drop_scope("sales")
    with pytest.raises(ScopeNotFoundException):
        manager.drop_scope("sales")
    assert "sales" not in scopes(bucket)


def test_what_is_not_here_fails_at_once(cluster: Cluster) -> None:
    bucket = cluster.bucket("default")
    began = time.monotonic()
    for ask in (
        lambda: list(cluster.query("SELECT 1").rows()),
        lambda: list(cluster.analytics_query("SELECT 1").rows()),
        lambda: cluster.query_indexes().get_all_indexes("default"),
        lambda: cluster.search_indexes().get_all_indexes(),
        lambda: cluster.eventing_functions().get_all_functions(),
        lambda: list(bucket.view_query("design", "view").rows()),
    ):
        with pytest.raises(ServiceUnavailableException):
            ask()
    with pytest.raises(CouchbaseException) as caught:
        cluster.users().get_all_users()
    assert "trio-spool user" in str(caught.value)
    assert time.monotonic() - began < 30  # an SDK that waits does so for 75 seconds each


def test_without_the_port_nothing_waits_for_it(start: Callable[..., Any]) -> None:
    with start("--engine=memory", "--listen=tcp://127.0.0.1:0") as process:
        cluster = connect(f"couchbase://{process.address}")
        began = time.monotonic()
        assert set(cluster.ping().endpoints) == {ServiceType.KeyValue}
        with pytest.raises(ServiceUnavailableException):
            cluster.buckets().get_all_buckets()
        assert time.monotonic() - began < 30  # an SDK that probes an absent port does so for 75 seconds
        cluster.close()


def test_users_and_roles(start: Callable[..., Any], tmp_path: Path, login: tuple[str, str]) -> None:
    users = write_users(tmp_path / "users.json", user(login[0], Role.ADMIN, password=login[1]), BOB)
    with start(*MEMORY, f"--users={users}", listeners=2) as process:
        address = f"couchbase://{process.address}"
        admin = connect(address, login)
        admin.buckets().create_bucket(CreateBucketSettings(name="orders", ram_quota_mb=100))
        bob = connect(address, ("bob", PASSWORD))
        assert names(bob.buckets()) == ["orders"]
        assert list(scopes(bob.bucket("orders"))) == ["_default"]
        with pytest.raises(CouchbaseException, match="lacks the role admin"):
            bob.bucket("orders").collections().create_scope("mine")
        with pytest.raises(CouchbaseException, match="lacks the role admin"):
            bob.buckets().drop_bucket("orders")
        with pytest.raises(AuthenticationException):
            connect(address, (login[0], "wrong"))
        admin.close()
        bob.close()


def test_tls_behind_a_port_mapping(users: Path, login: tuple[str, str], authority: Authority) -> None:
    """The server's own ports lead nowhere from outside: an SDK that goes to one of them fails."""
    cert, key = authority.issue("localhost", "127.0.0.1", "localhost")
    inside = ("tls://127.0.0.2:0", "tls://127.0.0.3:0")
    with ExitStack() as stack:
        forwarder = stack.enter_context(forwarding(2))
        words = ["--engine=memory", f"--users={users}", f"--tls-cert={cert}", f"--tls-key={key}"]
        words += [f"--listen={inside[0]}", f"--management={inside[1]}"]
        words += [f"--advertise={port}:{address}" for port, address in zip(forwarder.ports, inside, strict=True)]
        server = stack.enter_context(running(*words, listeners=2))
        forwarder.lead_to(*[address.partition("//")[2] for address in server.addresses])
        cluster = connect(f"couchbases://127.0.0.1:{forwarder.ports[0]}", login, cert_path=str(authority.ca_file))
        assert [each.state for each in cluster.ping().endpoints[ServiceType.Management]] == [PingState.OK]
        cluster.bucket("default").collections().create_scope("sales")
        assert "sales" in scopes(cluster.bucket("default"))
        cluster.close()


def test_what_managers_made_survives_a_restart(start: Callable[..., Any], tmp_path: Path) -> None:
    words = (str(tmp_path / "data"), *ADDRESSES)
    with connected(start, *words) as cluster:
        cluster.buckets().create_bucket(CreateBucketSettings(name="shop", ram_quota_mb=100, flush_enabled=True))
        manager = cluster.bucket("shop").collections()
        manager.create_scope("sales")
        manager.create_collection("sales", "orders", CreateCollectionSettings(max_expiry=timedelta(minutes=1)))
    with connected(start, *words) as cluster:
        assert scopes(cluster.bucket("shop"))["sales"] == {"orders": timedelta(minutes=1)}
        assert cluster.buckets().get_bucket("shop").flush_enabled
