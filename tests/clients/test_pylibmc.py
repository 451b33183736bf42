"""pylibmc, which is libmemcached, against a server in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

pylibmc = pytest.importorskip("pylibmc")


@pytest.fixture(autouse=True)
def _recent(missing: Callable[[str], NoReturn]) -> None:
    # pylibmc's wheels carry 1.0.16, which finds no SASL mechanism, and which an INCR of a text costs the connection, memcached's too.
    if tuple(map(int, pylibmc.libmemcached_version.split("."))) < (1, 1):
        missing("this pylibmc is not built with libmemcached 1.1; install it with --no-binary=pylibmc")


def connect(server: Any, login: tuple[str, str] | None = None, *, binary: bool = True) -> Any:
    options = dict(zip(("username", "password"), login, strict=True)) if login else {}
    return pylibmc.Client([server.address], binary=binary, behaviors={"cas": True, "tcp_nodelay": True}, **options)


@pytest.fixture(params=["open", "with a login", "text"])
def client(request: pytest.FixtureRequest, missing: Callable[[str], NoReturn]) -> Any:
    if request.param != "with a login":
        return connect(request.getfixturevalue("server"), binary=request.param == "open")
    if not pylibmc.support_sasl:
        missing("this pylibmc is built without SASL")
    return connect(request.getfixturevalue("protected"), request.getfixturevalue("login"))


def test_storing(client: Any) -> None:
    assert client.set("k", "value")
    assert client.get("k") == "value"
    assert client.get("none") is None
    assert not client.add("k", "again")
    assert client.add("new", "added")
    assert client.replace("new", "replaced")
    if client.binary:
        with pytest.raises(pylibmc.NotFound):
            client.replace("none", "x")
    else:
        assert not client.replace("none", "x")
    assert client.get("new") == "replaced"
    assert client.delete("new")
    assert not client.delete("new")
    assert client.get("new") is None


def test_kinds_of_values(client: Any) -> None:
    for value in ("text", "ü", "", b"bytes\0\xff", 5, 10**12, True, ["list"], {"a": 1}):
        assert client.set("k", value)
        assert client.get("k") == value
    assert client.set("packed", "again " * 100_000, min_compress_len=100)
    assert client.get("packed") == "again " * 100_000
    assert client.set("large", b"\0" * 5_000_000)
    assert client.get("large") == b"\0" * 5_000_000
    with pytest.raises(pylibmc.TooBig):
        client.set("huge", b"\0" * 25_000_000)
    assert client.set("k" * 250, 1)
    assert client.get("k" * 250) == 1


def test_counters(client: Any) -> None:
    with pytest.raises(pylibmc.NotFound):
        client.incr("n")
    assert client.set("n", "5")
    assert client.incr("n", 3) == 8
    assert client.decr("n") == 7
    assert client.decr("n", 100) == 0
    assert client.get("n") == "0"
    client.incr_multi(["n"], delta=2)
    assert client.get("n") == "2"
    assert client.set("word", "text")
    with pytest.raises(pylibmc.Error):
        client.incr("word")
    assert client.get("word") == "text"


def test_concatenation(client: Any) -> None:
    assert client.set("s", "b")
    assert client.append("s", "c")
    assert client.prepend("s", "a")
    assert client.get("s") == "abc"
    assert not client.append("none", "x")
    assert not client.prepend("none", "x")


def test_cas(client: Any) -> None:
    assert client.set("k", "first")
    value, cas = client.gets("k")
    assert value == "first"
    assert cas
    assert client.cas("k", "second", cas)
    assert not client.cas("k", "stale", cas)
    assert client.gets("k")[0] == "second"
    assert client.gets("none") == (None, None)
    with pytest.raises(pylibmc.NotFound):
        client.cas("none", "x", cas)


def test_expiry(client: Any) -> None:
    assert client.set("k", "v")
    assert client.touch("k", 1000)
    assert not client.touch("none", 1000)
    assert client.touch("k", 1)
    assert client.set("short", "lived", time=1)
    assert client.get("short") == "lived"
    time.sleep(2.1)
    assert client.get_multi(["k", "short"]) == {}


def test_several_keys(client: Any) -> None:
    documents = {f"k{number}": [number, "x" * number] for number in range(1000)}
    assert client.set_multi(documents) == []
    assert client.get_multi([*documents, "none"]) == documents
    assert client.get_multi(["0", "none"], key_prefix="k") == {"0": documents["k0"]}
    assert client.add_multi({"k1": 1, "new": 2}) == ["k1"]
    assert client.delete_multi(["k1", "k2"])
    assert not client.delete_multi(["k2", "k3"])
    assert client.get_multi(["k1", "k2", "k3"]) == {}


def test_statistics_and_flush(client: Any) -> None:
    assert client.set_multi({"a": 1, "b": 2}) == []
    ((name, found),) = client.get_stats()
    assert name.startswith(b"127.0.0.1:")
    assert (found["curr_items"], found["cmd_set"]) == (b"2", b"2")
    assert client.get_stats("settings")
    with pytest.raises(pylibmc.Error):
        client.get_stats("nonsense")
    assert client.flush_all()
    assert client.get("a") is None
    assert client.get_stats()[0][1]["curr_items"] == b"0"


def test_a_wrong_password(protected: Any, login: tuple[str, str], missing: Callable[[str], NoReturn]) -> None:
    if not pylibmc.support_sasl:
        missing("this pylibmc is built without SASL")
    for wrong in ((login[0], "wrong"), ("nobody", login[1])):
        with pytest.raises(pylibmc.Error, match="AUTHENTICATION FAILURE"):
            connect(protected, wrong).set("k", "v")
    with pytest.raises(pylibmc.Error):
        connect(protected).set("k", "v")
    assert connect(protected, login).get("k") is None


def test_both_protocols_have_the_same_items(server: Any) -> None:
    text, binary = connect(server, binary=False), connect(server)
    for value in ("text", b"bytes\0\r\n", 5, True, ["list"], "again " * 100_000):
        assert text.set("t", value, min_compress_len=1000)
        assert binary.set("b", value, min_compress_len=1000)
        assert binary.get("t") == text.get("b") == value
    assert text.gets("b") == binary.gets("b")
    assert text.set("n", 5)
    assert binary.incr("n") == 6
    assert text.incr("n") == 7
