"""python-memcached, in the text protocol, against a server in a process of its own and against memcached."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import pytest


@pytest.fixture(scope="module")
def module() -> ModuleType | None:
    """The module, from its file: the package ``memcache`` of somebody else hides it."""
    try:
        path = importlib.metadata.distribution("python-memcached").locate_file("memcache.py")
    except importlib.metadata.PackageNotFoundError:
        return None
    spec = importlib.util.spec_from_file_location("python_memcached", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(text_port: int, module: ModuleType | None, missing: Callable[[str], NoReturn]) -> Iterator[Any]:
    if module is None:
        missing("python-memcached is not installed")
    client = module.Client([f"127.0.0.1:{text_port}"], cache_cas=True, socket_timeout=20)
    yield client
    client.disconnect_all()


def test_storing(client: Any) -> None:
    for value in ("text", "ü", b"bytes\0\r\n", 5, 2**70, True, ["list"], {"a": 1}):
        assert client.set("k", value, time=1000)
        assert client.get("k") == value
    assert client.get("none") is None
    assert not client.add("k", "again")
    assert client.add("new", "added")
    assert client.replace("new", "replaced")
    assert not client.replace("none", "x")
    assert client.append("new", ">")
    assert client.prepend("new", "<")
    assert client.get("new") == "<replaced>"
    assert client.touch("new", 1000)
    assert client.delete("new")
    assert not client.delete("new")
    assert client.get("new") is None
    assert client.set("packed", "again " * 100_000, min_compress_len=100)
    assert client.get("packed") == "again " * 100_000
    assert client.set("large", b"\0" * 900_000)
    assert client.get("large") == b"\0" * 900_000


def test_cas(client: Any) -> None:
    assert client.set("k", "first")
    assert client.gets("k") == "first"
    assert client.set("k", "between")
    assert not client.cas("k", "stale")
    assert client.gets("k") == "between"
    assert client.cas("k", "second")
    assert client.get("k") == "second"


def test_counters(client: Any) -> None:
    assert client.incr("n") is None
    assert client.set("n", 5)
    assert client.incr("n", 3) == 8
    assert client.decr("n", 100) == 0
    assert client.get("n") == 0
    for _ in range(100):
        client.incr("n", noreply=True)
    assert client.get("n") == 100


def test_several_keys(client: Any) -> None:
    documents = {f"k{number}": [number] for number in range(1000)}
    assert client.set_multi(documents) == []
    assert client.get_multi([*documents, "none"]) == documents
    assert client.get_multi(["0", "none"], key_prefix="k") == {"0": [0]}
    assert client.delete_multi(list(documents)[:500])
    assert len(client.get_multi(documents)) == 500
    for key in ("a b", "a\r\n", "k" * 251):
        with pytest.raises(Exception, match=r"(?i)key"):
            client.set(key, "v")


def test_statistics_and_flush(client: Any) -> None:
    ((_name, before),) = client.get_stats()
    assert client.set_multi({"a": 1, "b": 2}) == []
    ((_name, found),) = client.get_stats()
    assert int(found["cmd_set"]) - int(before["cmd_set"]) == 2
    ((_name, found),) = client.get_stats("settings")
    assert found["cas_enabled"] == "yes"
    client.flush_all()
    assert client.get("a") is None
