"""The package ``memcache``, in the meta commands, against a server in a process of its own and against memcached."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("memcache")

from memcache import AsyncMemcache, Memcache, MemcacheError, MetaCommand
from memcache.async_memcache import AsyncConnection
from memcache.memcache import Connection

# A connection of its that has raised something is forgotten, and not closed.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning")
]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Close all connections: its clients have no way to."""
    yield
    for found in gc.get_objects():
        if type(found) is Connection:
            found.close()


@pytest.fixture
def client(text_port: int) -> Memcache:
    return Memcache(("127.0.0.1", text_port))


def test_storing(client: Memcache) -> None:
    assert client.get("none") is None
    for value in ("text", "ü", b"bytes\0\r\n", 5, ["list"], {"a": 1}, True, "x" * 900_000):
        client.set("k", value, expire=1000)
        assert client.get("k") == value
    client.set("ключ", "in base64")
    assert client.get("ключ") == "in base64"
    client.delete("k")
    client.delete("none")
    assert client.get("k") is None
    client.set("k", "v")
    client.flush_all()
    assert client.get("k") is None
    with pytest.raises(MemcacheError):
        client.set("k" * 251, "v")


def test_cas(client: Memcache) -> None:
    assert client.gets("k") is None
    client.set("k", "first")
    value, cas = client.gets("k")
    assert value == "first"
    client.cas("k", "second", cas)
    with pytest.raises(MemcacheError):
        client.cas("k", "stale", cas)
    assert client.get("k") == "second"


def test_counters(client: Memcache) -> None:
    with pytest.raises(MemcacheError):
        client.incr("n")
    client.set("n", 5)
    assert client.incr("n", 3) == 8
    assert client.decr("n") == 7
    assert client.decr("n", 100) == 0


def test_any_meta_command(client: Memcache) -> None:
    client.set("k", b"value")
    found = client.execute_meta_command(
        MetaCommand(cm=b"mg", key="k", datalen=None, flags=[b"s", b"v", b"t", b"Oopaque", b"k"], value=None)
    )
    assert (found.rc, found.value) == (b"VA", b"value")
    assert found.flags == [b"s5", b"t-1", b"Oopaque", b"kk"]
    gone = client.execute_meta_command(MetaCommand(cm=b"md", key="k", datalen=None, flags=[b"I", b"T30"], value=None))
    assert gone.rc == b"HD"
    stale = client.execute_meta_command(MetaCommand(cm=b"mg", key="k", datalen=None, flags=[b"v", b"t"], value=None))
    assert (stale.rc, stale.value, set(stale.flags[1:])) == (b"VA", b"value", {b"W", b"X"})


def test_in_asyncio(text_port: int) -> None:
    async def use() -> None:
        client = AsyncMemcache(("127.0.0.1", text_port))
        await asyncio.gather(*(client.set(f"k{number}", number) for number in range(100)))
        assert await asyncio.gather(*(client.get(f"k{number}") for number in range(100))) == list(range(100))
        assert await client.incr("k5", 2) == 7
        value, cas = await client.gets("k6")
        await client.cas("k6", value + 1, cas)
        assert await client.get("k6") == 7
        await client.delete("k6")
        assert await client.get("k6") is None
        await client.flush_all()
        assert await client.get("k5") is None
        for found in gc.get_objects():
            if type(found) is AsyncConnection:
                await found.writer.aclose()

    asyncio.run(use())


def test_a_login(protected: Any, login: tuple[str, str]) -> None:
    user, password = login
    client = Memcache(("127.0.0.1", protected.port), username=user, password=password)
    client.set("k", "v")
    assert client.get("k") == "v"
    with pytest.raises(MemcacheError, match="authentication failure"):
        Memcache(("127.0.0.1", protected.port), username=user, password="wrong").get("k")
    with pytest.raises(MemcacheError, match="unauthenticated"):
        Memcache(("127.0.0.1", protected.port)).get("k")
