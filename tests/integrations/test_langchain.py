"""LangChain on Couchbase: what needs only documents works, and what needs the query service says so. See docs/management.rst."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

# Frameworks are behind with what they are built on; that is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore")

PLACE = {"bucket_name": "default", "scope_name": "shop", "collection_name": "things"}


def test_the_cache_of_answers(installed: Callable[[str], Any], cluster: Any) -> None:
    module = installed("langchain_couchbase")
    from langchain_core.language_models.fake import FakeListLLM
    from langchain_core.outputs import Generation

    cache = module.CouchbaseCache(cluster=cluster, ttl=timedelta(minutes=1), **PLACE)
    assert cache.lookup("question", "model") is None
    cache.update("question", "model", [Generation(text="answer")])
    assert cache.lookup("question", "model") == [Generation(text="answer")]
    assert cache.lookup("question", "another model") is None

    model = FakeListLLM(responses=["one", "two"], cache=cache)
    assert [model.invoke("hello"), model.invoke("hello"), model.invoke("bye")] == ["one", "one", "two"]
    again = FakeListLLM(responses=["three"], cache=module.CouchbaseCache(cluster=cluster, **PLACE))
    assert again.invoke("hello") == "three"  # another model, as its answers are others
    twin = FakeListLLM(responses=["one", "two"], cache=module.CouchbaseCache(cluster=cluster, **PLACE))
    assert twin.invoke("bye") == "two"


@pytest.mark.parametrize("wrong", [{"bucket_name": "none"}, {"scope_name": "none"}, {"collection_name": "none"}])
def test_a_place_that_is_not_there(installed: Callable[[str], Any], cluster: Any, wrong: dict[str, str]) -> None:
    module = installed("langchain_couchbase")
    with pytest.raises(ValueError, match="none"):
        module.CouchbaseCache(cluster=cluster, **(PLACE | wrong))


def test_what_needs_another_service_raises(installed: Callable[[str], Any], cluster: Any) -> None:
    module = installed("langchain_couchbase")
    from couchbase.exceptions import ServiceUnavailableException
    from langchain_core.embeddings import DeterministicFakeEmbedding

    embedding = DeterministicFakeEmbedding(size=4)
    for kind in (module.CouchbaseSearchVectorStore, module.CouchbaseSemanticCache):
        with pytest.raises(ServiceUnavailableException):
            kind(cluster=cluster, embedding=embedding, index_name="index", **PLACE)
    metric = installed("langchain_couchbase.vectorstores").DistanceStrategy.DOT
    with pytest.raises(ValueError, match="ServiceUnavailableException"):
        module.CouchbaseQueryVectorStore(cluster=cluster, embedding=embedding, distance_metric=metric, **PLACE)
