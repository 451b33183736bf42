"""Distributed transactions of Couchbase's Python SDK, with clients in processes of their own that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.commands import run
from support.cutting import cutting
from support.process import Process

pytest.importorskip("couchbase")

import couchbase.subdocument as SD
from couchbase.exceptions import (
    DocumentExistsException,
    DocumentNotFoundException,
    TransactionException,
    TransactionExpired,
    TransactionFailed,
)
from couchbase.kv_range_scan import PrefixScan
from couchbase.options import LookupInOptions
from couchbase.transcoder import RawBinaryTranscoder

from .transacting import connect

SCRIPT = Path(__file__).parent / "transacting.py"
ACCOUNTS, MONEY = 5, 100
TRANSFERRING = 4.0  # seconds; picked: some hundred transfers
WINDOW = 1.0  # seconds of a round of the cleanup


def prepare(address: str) -> None:
    """Make a named collection, and another bucket."""
    run("collection", "create", address, "shop.orders")
    run("bucket", "create", address, "other")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from ..conftest import running

    with running(str(tmp_path_factory.mktemp("transactions") / "data"), "--listen", "tcp://127.0.0.1:0") as process:
        prepare(process.address)
        yield process.address


@pytest.fixture(scope="module")
def cluster(address: str) -> Iterator[Any]:
    cluster = connect(address, expiry=20)
    yield cluster
    cluster.close()


@pytest.fixture
def collections(cluster: Any) -> list[Any]:
    """Empty collections, of two scopes and of two buckets."""
    bucket = cluster.bucket("default")
    other = cluster.bucket("other").default_collection()
    found = [bucket.default_collection(), bucket.scope("shop").collection("orders"), other]
    for collection in found:
        for name in ("new", "kept", "removed"):
            try:
                collection.remove(name)
            except DocumentNotFoundException:
                pass
        collection.upsert("kept", {"n": 1})
        collection.upsert("removed", {"n": 1})
    return found


def seen(collections: list[Any]) -> list[tuple[bool, int, bool]]:
    """What there is of the three documents of each collection: new, kept, removed."""
    return [
        (each.exists("new").exists, each.get("kept").content_as[dict]["n"], each.exists("removed").exists) for each in collections
    ]


def attributes(collection: Any, key: str) -> Any:
    """Return what a transaction has left in a document, deleted or not; None if nothing is left."""
    try:
        found = collection.lookup_in(key, [SD.get("txn", xattr=True)], LookupInOptions(access_deleted=True))
    except DocumentNotFoundException:
        return None
    return found.content_as[dict](0) if found.exists(0) else None


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return result


@contextmanager
def client(address: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a client in a process of its own, and kill it at the end of the block."""
    command = [sys.executable, str(SCRIPT), address, *map(str, arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            yield process
        finally:
            process.kill()


# One client


def test_a_commit(cluster: Any, collections: list[Any]) -> None:
    def work(context: Any) -> None:
        for each in collections:
            context.insert(each, "new", {"n": 1})
            context.replace(context.get(each, "kept"), {"n": 2})
            context.remove(context.get(each, "removed"))
        assert context.get(collections[0], "new").content_as[dict] == {"n": 1}
        assert seen(collections) == [(False, 1, True)] * 3

    assert cluster.transactions.run(work).unstaging_complete
    assert seen(collections) == [(True, 2, False)] * 3
    for each in collections:
        assert each.get("new").content_as[dict] == {"n": 1}
        assert [attributes(each, key) for key in ("new", "kept", "removed")] == [None] * 3


def test_a_rollback(cluster: Any, collections: list[Any]) -> None:
    def work(context: Any) -> None:
        for each in collections:
            context.insert(each, "new", {"n": 1})
            context.replace(context.get(each, "kept"), {"n": 2})
            context.remove(context.get(each, "removed"))
        raise RuntimeError("no")

    for _ in range(2):  # the second one finds what the first has left
        with pytest.raises(TransactionFailed):
            cluster.transactions.run(work)
        assert seen(collections) == [(False, 1, True)] * 3
        for each in collections:
            assert [attributes(each, key) for key in ("new", "kept", "removed")] == [None] * 3
    cluster.transactions.run(lambda context: context.insert(collections[0], "new", {"n": 3}))
    assert collections[0].get("new").content_as[dict] == {"n": 3}


def test_an_insert_after_a_removal(cluster: Any, collections: list[Any]) -> None:
    collection = collections[0]

    def work(context: Any) -> None:
        context.remove(context.get(collection, "removed"))
        context.insert(collection, "removed", {"n": 2})

    cluster.transactions.run(work)
    assert collection.get("removed").content_as[dict] == {"n": 2}


def test_several_changes_of_what_was_inserted(cluster: Any, collections: list[Any]) -> None:
    collection = collections[0]

    def work(context: Any) -> None:
        context.replace(context.insert(collection, "new", {"n": 1}), {"n": 2})
        context.remove(context.insert(collection, "gone", {"n": 1}))

    cluster.transactions.run(work)
    assert collection.get("new").content_as[dict] == {"n": 2}
    assert not collection.exists("gone").exists


def test_what_is_there_or_is_not(cluster: Any, collections: list[Any]) -> None:
    collection = collections[0]

    def work(context: Any) -> None:
        with pytest.raises(DocumentExistsException):
            context.insert(collection, "kept", {"n": 2})
        with pytest.raises(DocumentNotFoundException):
            context.get(collection, "new")

    cluster.transactions.run(work)
    assert seen([collection]) == [(False, 1, True)]


def test_large_documents(cluster: Any, collections: list[Any]) -> None:
    """What is staged is larger than what is edited on the event loop, and than 1 MiB."""
    collection = collections[0]
    large = {"n": 2, "text": "x" * 3_000_000}

    def work(context: Any) -> None:
        context.insert(collection, "new", large)
        context.replace(context.get(collection, "kept"), large)

    cluster.transactions.run(work)
    assert [collection.get(key).content_as[dict] for key in ("new", "kept")] == [large, large]


@pytest.mark.parametrize("inside", [False, True])
def test_a_conflict(cluster: Any, collections: list[Any], inside: bool) -> None:
    """Somebody else changes the document after it was read, in a transaction or not. This SDK leaves the next try to the program."""
    collection = collections[0]
    others = [10, 20]

    def change(context: Any) -> None:
        context.replace(context.get(collection, "kept"), {"n": others.pop(0)})

    def work(context: Any) -> None:
        context.insert(collection, "new", {"n": 1})
        found = context.get(collection, "kept")
        if others and inside:
            cluster.transactions.run(change)
        elif others:
            collection.upsert("kept", {"n": others.pop(0)})
        context.replace(found, {"n": found.content_as[dict]["n"] + 1})

    for left in (10, 20):
        with pytest.raises(TransactionFailed, match="cas_mismatch"):
            cluster.transactions.run(work)
        assert seen([collection]) == [(False, left, True)]
    cluster.transactions.run(work)
    assert seen([collection]) == [(True, 21, True)]


def test_a_conflict_with_a_transaction_that_goes_on(address: str, cluster: Any, collections: list[Any]) -> None:
    """What another attempt has staged is in the way until that attempt ends, or has expired."""
    collection = collections[0]
    hasty = connect(address, expiry=0.5)
    same = hasty.bucket("default").default_collection()

    def inner(context: Any) -> None:
        context.replace(context.get(same, "kept"), {"n": 5})

    def outer(context: Any) -> None:
        found = context.get(collection, "kept")
        context.replace(found, {"n": 2})
        with pytest.raises(TransactionFailed):
            hasty.transactions.run(inner)

    try:
        cluster.transactions.run(outer)
    finally:
        hasty.close()
    assert seen([collection]) == [(False, 2, True)]


def test_several_documents_at_once(cluster: Any, collections: list[Any]) -> None:
    from couchbase.transactions import TransactionGetMultiSpec

    def work(context: Any) -> None:
        found = context.get_multi([TransactionGetMultiSpec(each, key) for each in collections for key in ("kept", "new")])
        assert [found.exists(index) for index in range(6)] == [True, False] * 3
        assert found.content_as[dict](2) == {"n": 1}

    cluster.transactions.run(work)


def test_asyncio(address: str, cluster: Any, collections: list[Any]) -> None:
    from acouchbase.cluster import AsyncCluster
    from couchbase.auth import PasswordAuthenticator
    from couchbase.options import ClusterOptions

    async def run_all() -> None:
        connected = await AsyncCluster.connect(f"couchbase://{address}", ClusterOptions(PasswordAuthenticator("a", "b")))
        bucket = connected.bucket("default")
        await bucket.on_connect()
        collection = bucket.default_collection()

        async def work(context: Any) -> None:
            await context.insert(collection, "new", {"n": 1})
            await context.replace(await context.get(collection, "kept"), {"n": 2})
            await context.remove(await context.get(collection, "removed"))

        async def failing(context: Any) -> None:
            await work(context)
            raise RuntimeError("no")

        with pytest.raises(TransactionFailed):
            await connected.transactions.run(failing)
        assert seen(collections[:1]) == [(False, 1, True)]
        await connected.transactions.run(work)
        await connected.close()

    asyncio.run(run_all())
    assert seen(collections[:1]) == [(True, 2, False)]


def test_an_attempt_that_expires(address: str, collections: list[Any]) -> None:
    hasty = connect(address, expiry=0.5)
    collection = hasty.bucket("default").default_collection()

    def work(context: Any) -> None:
        context.insert(collection, "new", {"n": 1})
        time.sleep(0.6)
        context.replace(context.get(collection, "kept"), {"n": 2})

    try:
        with pytest.raises(TransactionExpired):
            hasty.transactions.run(work)
    finally:
        hasty.close()
    assert seen(collections) == [(False, 1, True)] * 3
    assert attributes(collections[0], "new") is None


def test_a_query_is_refused_at_once(cluster: Any) -> None:
    began = time.monotonic()
    with pytest.raises(TransactionException, match="service_not_available"):
        cluster.transactions.run(lambda context: context.query("SELECT 1"))
    assert time.monotonic() - began < 5


def test_binary_documents_are_refused(cluster: Any, collections: list[Any]) -> None:
    from couchbase.options import TransactionInsertOptions

    def work(context: Any) -> None:
        context.insert(collections[0], "new", b"\0", TransactionInsertOptions(transcoder=RawBinaryTranscoder()))

    with pytest.raises(TransactionFailed, match="FeatureUnavailable"):
        cluster.transactions.run(work)
    assert seen(collections) == [(False, 1, True)] * 3


# Several clients


def test_transfers(address: str, cluster: Any) -> None:
    """Three clients transfer money between few accounts, and one of them is killed: the sum is kept."""
    collection = cluster.bucket("default").default_collection()
    for number in range(ACCOUNTS):
        collection.upsert(f"account-{number}", {"money": MONEY})
    cleaner = connect(address, cleaning=WINDOW)
    work = ("transfer", ACCOUNTS, TRANSFERRING)
    with client(address, *work, 1) as first, client(address, *work, 2) as second, client(address, *work, 3) as third:
        time.sleep(TRANSFERRING / 2)  # in the midst of its work, wherever that is
        third.send_signal(signal.SIGKILL)
        counts = [int(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert min(counts) > 0
    eventually(lambda: not any(records(cluster)))
    cleaner.close()
    accounts = [collection.get(f"account-{number}").content_as[dict]["money"] for number in range(ACCOUNTS)]
    assert sum(accounts) == ACCOUNTS * MONEY
    assert accounts != [MONEY] * ACCOUNTS


def test_transfers_while_the_server_is_killed(tmp_path: Path) -> None:
    """Whatever was acknowledged, or is done again because nobody knows whether it was done, the sum is kept."""
    server = Process(str(tmp_path / "data"), "--listen=tcp://127.0.0.1:0")
    outside = connect(server.address)
    collection = outside.bucket("default").default_collection()
    for number in range(ACCOUNTS):
        collection.upsert(f"account-{number}", {"money": MONEY})
    work = ("transfer", ACCOUNTS, 2 * TRANSFERRING)
    try:
        with client(server.address, *work, 1) as first, client(server.address, *work, 2) as second:
            for _ in range(2):
                time.sleep(TRANSFERRING / 2)
                server.stop(signal.SIGKILL)
                server = Process(str(tmp_path / "data"), f"--listen=tcp://{server.address}")
            counts = [int(process.communicate(timeout=60)[0]) for process in (first, second)]
        assert min(counts) > 0
        cleaner = connect(server.address, cleaning=WINDOW)
        eventually(lambda: not any(records(cleaner)))
        cleaner.close()
        assert sum(collection.get(f"account-{number}").content_as[dict]["money"] for number in range(ACCOUNTS)) == ACCOUNTS * MONEY
        outside.close()
    finally:
        server.stop(signal.SIGKILL)


@contextmanager
def served(tmp_path: Path, port: int) -> Iterator[Process]:
    """Run a server at two addresses; clients of the first one are told to come by way of a port."""
    process = Process(
        str(tmp_path / "data"), "--listen=tcp://127.0.0.2:0", "--listen=tcp://127.0.0.1:0", f"--advertise={port}:tcp://127.0.0.2:0",
        listeners=2,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.stop()
        process.popen.stdout.close()
        process.popen.stderr.close()


def direct(process: Process) -> str:
    return process.addresses[1].partition("//")[2]


NAMES = tuple(f"{what}-x" for what in ("inserted", "replaced", "removed"))


@contextmanager
def killed(tmp_path: Path, *, committed: bool) -> Iterator[Process]:
    """Kill a client right before or right after it commits, and then the server; yields another server with what is left."""
    with cutting(b'"COMMITTED"', deliver=committed) as cut:
        with served(tmp_path, cut.port) as process:
            prepare(direct(process))
            cut.lead_to("127.0.0.2", process.port)
            outside = connect(direct(process))
            for each in changed(outside):
                each.upsert("replaced-x", {"made": "before"})
                each.upsert("removed-x", {"made": "before"})
            with client(f"127.0.0.1:{cut.port}", "change", "x") as dying:
                assert cut.cut.wait(20)
                dying.kill()
            if committed:  # the change of the record arrives by itself
                eventually(lambda: "COMMITTED" in str(records(outside)))
            for each in changed(outside):
                assert not each.exists("inserted-x").exists
                assert [attributes(each, name)["op"]["type"] for name in NAMES] == ["insert", "replace", "remove"]
            with pytest.raises(TransactionFailed, match="another transaction"):
                change_all(outside)
            outside.close()
            process.stop(signal.SIGKILL)
        with served(tmp_path, cut.port) as process:
            yield process


def changed(cluster: Any) -> tuple[Any, Any]:
    """Return the collections that a client changes."""
    bucket = cluster.bucket("default")
    return bucket.default_collection(), bucket.scope("shop").collection("orders")


def change_all(cluster: Any) -> None:
    def work(context: Any) -> None:
        for each in changed(cluster):
            context.insert(each, "inserted-x", {"made": "by another"})
            context.replace(context.get(each, "replaced-x"), {"made": "by another"})
            context.remove(context.get(each, "removed-x"))

    cluster.transactions.run(work)


def test_a_client_that_is_killed_after_it_has_committed(tmp_path: Path) -> None:
    """Another one finishes its attempt, even if the server was killed as well."""
    with killed(tmp_path, committed=True) as process:
        cleaner = connect(direct(process), cleaning=WINDOW)
        for each in changed(cleaner):
            eventually(lambda each=each: not any(attributes(each, name) for name in NAMES))
            assert [each.exists(name).exists for name in NAMES] == [True, True, False]
            assert [each.get(name).content_as[dict] for name in NAMES[:2]] == [{"made": "x"}] * 2
        eventually(lambda: not any(records(cleaner)))
        cleaner.close()


def test_a_client_that_is_killed_before_it_commits(tmp_path: Path) -> None:
    """Another one removes its attempt. What was staged stays as it is, and is in nobody's way any more."""
    with killed(tmp_path, committed=False) as process:
        cleaner = connect(direct(process), cleaning=WINDOW)
        eventually(lambda: not any(records(cleaner)))
        for each in changed(cleaner):
            assert [each.exists(name).exists for name in NAMES] == [False, True, True]
            assert [each.get(name).content_as[dict] for name in NAMES[1:]] == [{"made": "before"}] * 2
        change_all(cleaner)
        for each in changed(cleaner):
            assert [each.exists(name).exists for name in NAMES] == [True, True, False]
            assert [each.get(name).content_as[dict] for name in NAMES[:2]] == [{"made": "by another"}] * 2
        cleaner.close()


def records(cluster: Any) -> list[Any]:
    """Return what there is of attempts, by record."""
    collection = changed(cluster)[0]
    found = []
    for record in collection.scan(PrefixScan("_txn:atr-")):
        looked = collection.lookup_in(record.id, [SD.get("attempts", xattr=True)])
        found.append(looked.content_as[dict](0) if looked.exists(0) else {})
    return found
