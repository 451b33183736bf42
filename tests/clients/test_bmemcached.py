"""python-binary-memcached, against a server in a process of its own."""

from __future__ import annotations

import os
import sysconfig
import time
from pathlib import Path

import bmemcached
import pytest
from bmemcached.exceptions import MemcachedException


@pytest.fixture
def client(server):
    client = bmemcached.Client((server.address,))
    yield client
    client.disconnect_all()


def test_every_operation(client) -> None:
    assert client.set("key", "value")
    assert client.get("key") == "value"
    assert client.get("none") is None
    assert client.get("none", "default") == "default"
    value, cas = client.gets("key")
    assert value == "value"
    assert client.cas("key", "swapped", cas)
    assert not client.cas("key", "stale", cas)
    assert client.get("key") == "swapped"
    assert not client.add("key", "again")
    assert client.add("new", "added")
    assert client.replace("new", "replaced")
    assert not client.replace("none", "x")
    assert client.delete("new")
    assert client.get("new") is None
    assert client.delete_multi(["key", "none"]) is not None
    assert client.set_multi({"a": "1", "b": "2", "c": [3, {"four": 5}]}) == []
    assert client.get_multi(["a", "b", "c", "d"]) == {"a": "1", "b": "2", "c": [3, {"four": 5}]}
    assert client.incr("counter", 1) == 0
    assert client.incr("counter", 5) == 5
    assert client.decr("counter", 2) == 3
    assert client.decr("counter", 10) == 0
    assert client.get("counter") == "0"
    assert client.set("short", "lived", time=1)
    assert client.get("short") == "lived"
    time.sleep(2.1)
    assert client.get("short") is None
    statistics = client.stats()
    assert all(b"curr_items" in row or "curr_items" in row for row in statistics.values())
    assert client.flush_all()
    assert client.get("a") is None


def test_kinds_of_values(client) -> None:
    for value in ("text", "ü", b"bytes", 5, 10**12, True, ["list"], {"a": 1}, "x" * 200_000):
        assert client.set("key", value)
        assert client.get("key") == value


def test_long_keys_and_large_values(server, client) -> None:
    assert client.set("k" * 250, "v")
    assert client.get("k" * 250) == "v"
    assert client.set("large", os.urandom(5_000_000).hex(), compress_level=0)
    with pytest.raises(MemcachedException):
        client.set("huge", os.urandom(11_000_000).hex(), compress_level=0)


def test_with_a_login(protected, login) -> None:
    client = bmemcached.Client((protected.address,), *login)
    assert client.set("key", "value")
    assert client.get("key") == "value"
    assert client.incr("counter", 5, default=2) == 2
    assert client.set_multi({"a": "1", "b": "2"}) == []
    assert client.get_multi(["a", "b", "c"]) == {"a": "1", "b": "2"}
    (statistics,) = client.stats().values()
    assert {_text(key): _text(value) for key, value in statistics.items()}["curr_items"] == "4"
    assert client.delete("key")
    assert client.flush_all()
    client.disconnect_all()


@pytest.mark.parametrize("wrong", [("root", "wrong"), ("nobody", "pass=w,rd"), (None, None)])
def test_with_a_wrong_password(protected, login, wrong) -> None:
    client = bmemcached.Client((protected.address,), *wrong)
    with pytest.raises(MemcachedException, match="Auth failure"):
        client.set("key", "value")
    client.disconnect_all()
    right = bmemcached.Client((protected.address,), *login)
    assert right.get("key") is None
    right.disconnect_all()


def documents() -> dict[str, bytes]:
    """The standard library of this Python, by path."""
    root = Path(sysconfig.get_path("stdlib"))
    found = {}
    for path in sorted(root.rglob("*.py")):
        key = path.relative_to(root).as_posix()
        if "site-packages" not in key and len(key) <= 250:
            found[key] = path.read_bytes()
    return found


def test_the_standard_library_survives(start, tmp_path) -> None:
    sources = documents()
    assert len(sources) > 500
    arguments = (str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", "--fsync", "no")
    with start(*arguments) as process:
        client = bmemcached.Client((process.address,))
        for key, source in sources.items():
            assert client.set(key, source, compress_level=0)
        _check(client, sources)
        client.disconnect_all()
        process.popen.kill()
        process.popen.wait()
    with start(*arguments) as process:
        client = bmemcached.Client((process.address,))
        _check(client, sources)
        client.disconnect_all()
    with start(*arguments) as process:
        client = bmemcached.Client((process.address,))
        _check(client, sources)
        client.disconnect_all()


def _check(client: bmemcached.Client, sources: dict[str, bytes]) -> None:
    for key, source in sources.items():
        assert client.get(key) == source
    (rows,) = client.stats("keys").values()
    sizes = {_text(key): _text(value).split()[0] for key, value in rows.items()}
    assert sizes == {key: f"size={len(source)}" for key, source in sources.items()}


def _text(data: bytes | str) -> str:
    return data.decode() if isinstance(data, bytes) else data
