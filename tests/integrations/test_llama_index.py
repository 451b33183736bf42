"""llama-index's key-value store on Couchbase, which makes its collections by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

# Frameworks are behind with what they are built on; that is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def store(installed: Callable[[str], Any], cluster: Any) -> Any:
    module = installed("llama_index.storage.kvstore.couchbase")
    return module.CouchbaseKVStore.from_couchbase_client(client=cluster, bucket_name="default", scope_name="shop")


def test_values(store: Any) -> None:
    store.put("a", {"x": 1})
    store.put("a", {"x": 2}, collection="other/place")
    assert (store.get("a"), store.get("a", collection="other/place"), store.get("none")) == ({"x": 1}, {"x": 2}, None)
    assert store.delete("a")
    assert not store.delete("a")
    assert store.get("a") is None


def test_many_values(store: Any) -> None:
    pairs = {f"k{number}": {"number": number} for number in range(300)}
    store.put_all(list(pairs.items()), collection="many")
    assert store.get_all(collection="many") == pairs


def test_its_collections_are_there(store: Any, cluster: Any) -> None:
    store.put("a", {}, collection="seen")
    (scope,) = [scope for scope in cluster.bucket("default").collections().get_all_scopes() if scope.name == "shop"]
    assert "seen" in {collection.name for collection in scope.collections}


def test_a_scope_that_is_not_there(installed: Callable[[str], Any], cluster: Any) -> None:
    module = installed("llama_index.storage.kvstore.couchbase")
    with pytest.raises(ValueError, match="Scope none does not exist"):
        module.CouchbaseKVStore.from_couchbase_client(client=cluster, bucket_name="default", scope_name="none")


def test_values_on_asyncio(installed: Callable[[str], Any], cluster: Any, address: str) -> None:
    module = installed("llama_index.storage.kvstore.couchbase")
    from acouchbase.cluster import Cluster
    from couchbase.auth import PasswordAuthenticator
    from couchbase.options import ClusterOptions

    async def main() -> None:
        other = await Cluster.connect(address, ClusterOptions(PasswordAuthenticator("anybody", "anything")))
        store = module.CouchbaseKVStore.from_couchbase_client(
            client=cluster, bucket_name="default", scope_name="shop", async_client=other
        )
        await store.aput("b", {"x": 1}, collection="things")
        assert await store.aget("b", collection="things") == {"x": 1}
        assert await store.adelete("b", collection="things")
        await other.close()

    asyncio.run(main())
