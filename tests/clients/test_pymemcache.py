"""pymemcache, in the text protocol, against a server in a process of its own and against memcached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import bmemcached
import pytest

pytest.importorskip("pymemcache")

from pymemcache import Client, HashClient, MemcacheClientError, MemcacheIllegalInputError, MemcacheServerError, PooledClient, serde
from pymemcache.exceptions import MemcacheUnknownCommandError


@pytest.fixture
def client(text_port: int) -> Iterator[Client]:
    with closing(Client(("127.0.0.1", text_port), default_noreply=False, timeout=20)) as client:
        yield client


def test_storing(client: Client) -> None:
    assert client.set("k", b"value")
    assert client.get("k") == b"value"
    assert client.get("none") is None
    assert client.get("none", b"default") == b"default"
    assert not client.add("k", b"again")
    assert client.add("new", b"added")
    assert client.replace("new", b"replaced")
    assert not client.replace("none", b"x")
    assert client.append("new", b">")
    assert client.prepend("new", b"<")
    assert client.get("new") == b"<replaced>"
    assert not client.append("none", b"x")
    assert not client.prepend("none", b"x")
    assert client.delete("new")
    assert not client.delete("new")
    assert client.get("new") is None


def test_without_replies(client: Client) -> None:
    for number in range(1000):
        client.set("k", b"%d" % number, noreply=True)
    client.add("k", b"again", noreply=True)
    client.append("k", b"0", noreply=True)
    client.incr("k", 1, noreply=True)
    client.touch("k", 1000, noreply=True)
    client.delete("none", noreply=True)
    client.replace("none", b"x", noreply=True)
    assert client.get("k") == b"9991"
    client.flush_all(noreply=True)
    assert client.get("k") is None


def test_cas(client: Client) -> None:
    assert client.gets("k") == (None, None)
    assert client.cas("k", b"x", b"1") is None
    assert client.set("k", b"first")
    value, cas = client.gets("k")
    assert value == b"first"
    assert client.cas("k", b"second", cas)
    assert client.cas("k", b"stale", cas) is False
    assert client.gets_many(["k", "none"])["k"][0] == b"second"


def test_counters(client: Client) -> None:
    assert client.incr("n", 1) is None
    assert client.set("n", b"5")
    assert client.incr("n", 3) == 8
    assert client.decr("n", 1) == 7
    assert client.decr("n", 100) == 0
    assert client.set("n", b"%d" % (2**64 - 1))
    assert client.incr("n", 2) == 1
    assert client.set("word", b"text")
    with pytest.raises(MemcacheClientError, match="non-numeric"):
        client.incr("word", 1)
    with pytest.raises(MemcacheClientError, match="invalid numeric delta"):
        client.incr("n", -1)
    assert client.get("word") == b"text"


def test_expiry(client: Client) -> None:
    assert client.set("k", b"v", expire=1000)
    assert client.touch("k", 2000)
    assert not client.touch("none", 2000)
    assert client.raw_command("gat 3000 k none", "END\r\n") == b"VALUE k 0 1\r\nv\r\n"
    assert client.touch("k", -1)
    assert client.get("k") is None
    assert client.set("gone", b"v", expire=-1)
    assert client.get("gone") is None


def test_several_keys(client: Client) -> None:
    documents = {f"k{number}": b"x" * number for number in range(2000)}
    assert client.set_many(documents) == []
    assert client.get_many([*documents, "none"]) == documents
    assert client.delete_many(list(documents)[:1000])
    assert sorted(client.get_many(documents)) == sorted(list(documents)[1000:])


def test_large_values(client: Client) -> None:
    value = bytes(range(256)) * 4000 + b"\r\nEND\r\n"
    assert client.set("large", value)
    assert client.get("large") == value
    assert client.set("empty", b"")
    assert client.get("empty") == b""
    with pytest.raises(MemcacheServerError, match="too large"):
        client.set("large", b"\0" * 30_000_000)
    assert client.get("large") is None


def test_keys(client: Client) -> None:
    assert client.set("k" * 250, b"v")
    assert client.get("k" * 250) == b"v"
    for key in ("k" * 251, "a b", "a\r\nflush_all", "a\0b", "ü"):
        with pytest.raises(MemcacheIllegalInputError):
            client.set(key, b"v")
    assert client.get("k" * 250) == b"v"


def test_keys_in_unicode(text_port: int) -> None:
    with closing(Client(("127.0.0.1", text_port), allow_unicode_keys=True, key_prefix=b"p:")) as client:
        assert client.set("ключ", "v", noreply=False)
        assert client.get_many(["ключ", "none"]) == {"ключ": b"v"}


def test_statistics_version_and_flush(client: Client) -> None:
    before = client.stats()
    assert client.set_many({"a": b"1", "b": b"2"}) == []
    found = client.stats()
    assert [found[name] - before[name] for name in (b"curr_items", b"cmd_set")] == [2, 2]
    assert client.stats("settings")[b"cas_enabled"] == b"yes"
    assert client.version() == found[b"version"]
    assert client.raw_command("verbosity 1") == b"OK"
    with pytest.raises(MemcacheUnknownCommandError):
        client.raw_command("nonsense")
    assert client.flush_all(delay=1000)
    assert client.get("a") == b"1"
    assert client.flush_all()
    assert client.get("a") is None
    client.quit()
    assert client.set("a", b"1")  # in another connection


KINDS = ("text", "ü", b"bytes\0\xff", 5, 10**12, 2.5, True, None, ["list"], {"a": {1, 2}}, "x" * 100_000)


@pytest.mark.parametrize("kept", [serde.pickle_serde, serde.compressed_serde], ids=["pickle", "compressed"])
def test_its_serde(text_port: int, kept: Any) -> None:
    with closing(Client(("127.0.0.1", text_port), serde=kept)) as client:
        for value in KINDS:
            client.set("k", value)
            assert client.get("k") == value
            assert type(client.get("k")) is type(value)
        client.set("n", 5)
        assert client.incr("n", 1) == 6
        assert client.get("n") == 6
        numbers = {f"k{number}": number for number in range(100)}
        client.set_many(numbers)
        assert client.get_many([*numbers, "none"]) == numbers


class Json:
    """A serde of one's own, with a flag of its own."""

    def serialize(self, key: bytes, value: object) -> tuple[bytes, int]:
        return json.dumps(value).encode(), 2**31 + 5

    def deserialize(self, key: bytes, value: bytes, flags: int) -> object:
        assert flags == 2**31 + 5
        return json.loads(value)


def test_a_serde_of_ones_own(text_port: int) -> None:
    with closing(Client(("127.0.0.1", text_port), serde=Json())) as client:
        client.set("k", {"a": [1, None]})
        assert client.get("k") == {"a": [1, None]}


def test_two_servers(server: Any, start: Any) -> None:
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0") as other:
        client = HashClient([server.address, other.address], use_pooling=True, serde=serde.pickle_serde)
        documents = {f"k{number}": {"n": number} for number in range(500)}
        assert client.set_many(documents) == []
        assert client.get_many([*documents, "none"]) == documents
        counts = [found[b"curr_items"] for found in (each.stats() for each in client.clients.values())]
        assert sum(counts) == 500
        assert min(counts) > 100
        client.set("n", 5)
        assert client.incr("n", 2) == 7
        value, cas = client.gets("k0")
        assert value == {"n": 0}
        assert client.cas("k0", "new", cas, noreply=False)
        assert client.delete_many(documents)
        assert client.get_many(documents) == {}
        client.flush_all()
        assert client.get("n") is None
        client.close()


def test_a_pool(text_port: int) -> None:
    client = PooledClient(("127.0.0.1", text_port), max_pool_size=4)
    assert client.set("k", b"v")
    assert client.get("k") == b"v"
    client.close()


def test_a_login(protected: Any, login: tuple[str, str]) -> None:
    with closing(Client(protected.address, default_noreply=False)) as client:
        with pytest.raises(MemcacheClientError, match="unauthenticated"):
            client.get("k")
        with pytest.raises(MemcacheClientError, match="authentication failure"):
            client.set("login", f"{login[0]} wrong")
        assert client.set("login", " ".join(login))
        assert client.get("login") is None
        assert client.set("k", b"v")
        assert client.get("k") == b"v"


def test_items_of_a_binary_client(text_port: int) -> None:
    binary = bmemcached.Client((f"127.0.0.1:{text_port}",))
    with closing(Client(("127.0.0.1", text_port), default_noreply=False)) as text:
        for value, flags, stored in (("value", 0, b"value"), (7, 2, b"7"), (b"bytes\0\r\n", 16, b"bytes\0\r\n")):
            assert binary.set("k", value)
            assert text.raw_command("get k", "END\r\n") == b"VALUE k %d %d\r\n%b\r\n" % (flags, len(stored), stored)
        assert text.set("t", "values")
        assert binary.get("t") == "values"
        value, cas = binary.gets("t")
        assert text.gets("t") == (value.encode(), b"%d" % cas)
        assert text.cas("t", "swapped", b"%d" % cas)
        assert not binary.cas("t", "stale", cas)
        assert binary.incr("n", 1, default=5) == 5
        assert text.incr("n", 2) == 7
        assert binary.decr("n", 3) == 4
        assert text.delete("t")
        assert binary.get("t") is None
    binary.disconnect_all()
