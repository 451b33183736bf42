"""Scopes and collections, as the client library gives them and changes them."""

from __future__ import annotations

import sys

import pytest

from trio_spool.client import (
    Collection,
    Collections,
    ConnectionLostError,
    ExistsError,
    Scope,
    ServerError,
    UnknownCollectionError,
    open_client,
)
from trio_spool.client._collections import parse_collections
from trio_spool.mcbp import Feature, Opcode, Status, encode_leb128, encode_response

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401

HERE = "127.0.0.1"


async def store(port: int, collection: int, *keys: bytes) -> None:
    async with open_client(HERE, port) as client:
        await client.hello("test", (Feature.COLLECTIONS,))
        for key in keys:
            await client.set(encode_leb128(collection) + key, b"in %x" % collection)


async def test_collections(port: int) -> None:
    async with open_client(HERE, port) as client:
        assert [f"{scope.name}.{one.name}" for scope, one in await client.collections()] == ["_default._default"]
        created = await client.change_collections(lambda old: old.with_collection("shop.orders", 100))
        assert created == await client.collections()
        orders = created.find("shop.orders")
        assert orders == Collection(9, "orders", 100)
        created = await client.change_collections(lambda old: old.with_collection("shop.carts"))
        carts = created.find("shop.carts")
        assert carts.id == await client.collection_id("shop.carts") == 10
        assert await client.collection_id("_default._default") == 0
        await client.set(b"default", b"v")
        await store(port, orders.id, b"a", b"b1", b"b2")
        await store(port, carts.id, b"a")

        async def keys_of(**arguments) -> list[bytes]:
            async with client.scan(**arguments) as documents:
                return [document.key async for document in documents]

        assert await keys_of() == await keys_of(collection="_default._default") == [b"default"]
        assert await keys_of(collection="shop.orders") == [b"a", b"b1", b"b2"]
        assert await keys_of(collection="shop.orders", prefix=b"b") == [b"b1", b"b2"]
        assert await keys_of(collection="shop.orders", start=b"b", end=b"b2") == [b"b1"]
        assert await keys_of(collection="shop.orders", keys_only=True) == [b"a", b"b1", b"b2"]
        assert await keys_of(collection="shop.carts") == [b"a"]
        for path in ("shop.none", "none.orders"):
            with pytest.raises(UnknownCollectionError, match=f"no collection is named '{path}'"):
                await keys_of(collection=path)
        with pytest.raises(ServerError):
            await client.collection_id("shop")
        await client.change_collections(lambda old: old.without_collection("shop.orders"))
        with pytest.raises(UnknownCollectionError):
            await keys_of(collection="shop.orders")
        assert await keys_of(collection="shop.carts") == [b"a"]


async def test_a_change_that_comes_second_is_made_again(port: int) -> None:
    async with open_client(HERE, port) as client:
        old = await client.collections()
        await client.set_collections(old.with_collection("shop.first"))
        with pytest.raises(ServerError) as caught:
            await client.set_collections(old.with_collection("shop.second"))
        assert caught.value.status == Status.RANGE_ERROR
        stale = [old]

        def change(current: Collections) -> Collections:
            return (stale.pop() if stale else current).with_collection("shop.second")

        changed = await client.change_collections(change)
        assert {one.name for _, one in changed} == {"_default", "first", "second"}
        with pytest.raises(ServerError, match="status 0x22"):
            await client.change_collections(lambda current: old.with_collection("shop.third"))


async def test_many_change_the_collections_one_after_the_other(port: int) -> None:
    async with open_client(HERE, port) as client:
        for number in range(20):
            await client.change_collections(lambda old, path=f"scope{number % 3}.c{number}": old.with_collection(path))
        assert len(list(await client.collections())) == 21


@pytest.mark.parametrize("foreign", [8, 11, 14, 70])  # another client's, which the uid does not tell of
def test_ids_are_never_used_again(foreign: int) -> None:
    collections = Collections(2, (Scope(0, "_default", (Collection(0, "_default"), Collection(foreign, "foreign"))),))
    seen = {0, foreign}
    for round_ in range(5):
        for path in ("a.x", "a.y", "_default.z", "b.x"):
            collections = collections.with_collection(path)
            added = collections.find(path)
            assert added.id not in seen
            seen.add(added.id)
        for path in ("a.x", "_default.z", "a.y", "b.x") + (("_default.foreign",) if round_ == 0 else ()):
            collections = collections.without_collection(path, scope=True)
        assert [scope.name for scope in collections.scopes] == ["_default"]
    assert parse_collections(collections.to_json()) == collections


def test_dropping() -> None:
    start = Collections(0, (Scope(0, "_default", (Collection(0, "_default"),)),))
    two = start.with_collection("a.x").with_collection("a.y", 5)
    assert parse_collections(two.to_json()) == two
    with pytest.raises(ExistsError, match=r"'a\.x' exists already"):
        two.with_collection("a.x")
    one = two.without_collection("a.x", scope=True)
    assert [scope.name for scope in one.scopes] == ["_default", "a"]
    assert [scope.name for scope in one.without_collection("a.y", scope=True).scopes] == ["_default"]
    none = one.without_collection("a.y")
    assert [scope.name for scope in none.scopes] == ["_default", "a"]
    assert [scope.name for scope in none.without_scope("a").scopes] == ["_default"]
    with pytest.raises(ExistsError, match=r"drop a\.y first"):
        one.without_scope("a")
    for impossible in (lambda: one.without_collection("a.x"), lambda: one.without_scope("x")):
        with pytest.raises(UnknownCollectionError, match="is named"):
            impossible()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"uid": 7, "scopes": []}', b'{"uid": "0", "scopes": [{"name": "x", "uid": "z"}]}', b"[" * 100_000]
)
def test_a_manifest_that_is_none(text: bytes) -> None:
    with pytest.raises(ConnectionLostError, match="other than a manifest of collections"):
        parse_collections(text)


async def test_an_id_that_is_cut_off(scripted) -> None:
    port = await scripted(encode_response(Opcode.GET_COLLECTION_ID, 0, 0, extras=bytes(8)))
    async with open_client(HERE, port) as client:
        with pytest.raises(ConnectionLostError, match="id of a collection in 8 bytes"):
            await client.collection_id("a.b")
