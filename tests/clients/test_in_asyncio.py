"""aiomcache and emcache, clients for asyncio, against a server in a process of its own and against memcached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

aiomcache = pytest.importorskip("aiomcache")
emcache = pytest.importorskip("emcache")


def test_aiomcache(text_port: int) -> None:
    async def use() -> None:
        client = aiomcache.Client("127.0.0.1", text_port, pool_size=2)
        assert await client.get(b"none") is None
        assert await client.get(b"none", b"default") == b"default"
        assert await client.set(b"k", b"value", exptime=1000)
        assert await client.get(b"k") == b"value"
        assert not await client.add(b"k", b"again")
        assert await client.add(b"new", b"added")
        assert await client.replace(b"new", b"replaced")
        assert await client.append(b"new", b">")
        assert await client.prepend(b"new", b"<")
        assert await client.multi_get(b"k", b"new", b"none") == (b"value", b"<replaced>", None)
        value, cas = await client.gets(b"k")
        assert await client.cas(b"k", value * 2, cas)
        assert not await client.cas(b"k", b"stale", cas)
        assert await client.set(b"n", b"5")
        assert await client.incr(b"n", 3) == 8
        assert await client.decr(b"n", 100) == 0
        with pytest.raises(aiomcache.ClientException, match="NOT_FOUND"):
            await client.incr(b"none")
        with pytest.raises(aiomcache.ClientException, match="non-numeric"):
            await client.incr(b"k")
        assert await client.touch(b"k", 1000)
        assert not await client.touch(b"none", 1000)
        assert await client.delete(b"k")
        assert not await client.delete(b"k")
        large = bytes(range(256)) * 3500
        await asyncio.gather(*(client.set(b"large%d" % number, large) for number in range(10)))
        assert set(await client.multi_get(*(b"large%d" % number for number in range(10)))) == {large}
        for key in (b"k" * 251, b"a b", b"a\r\n"):
            with pytest.raises(aiomcache.ValidationException):
                await client.get(key)
        found = await client.stats()
        assert int(found[b"curr_items"]) >= 12  # memcached also counts what was flushed and not reused yet
        assert found[b"version"] == await client.version()
        assert (await client.stats(b"settings"))[b"cas_enabled"] == b"yes"
        await client.flush_all()
        assert await client.get(b"new") is None
        await client.close()

    asyncio.run(use())


def with_emcache(port: int, use: Callable[[Any, Any], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        host = emcache.MemcachedHostAddress("127.0.0.1", port)
        client = await emcache.create_client([host], timeout=20, **options)
        try:
            await use(client, host)
        finally:
            await client.close()

    asyncio.run(run())


async def _store(client: Any, _host: Any) -> None:
    assert await client.get(b"none") is None
    await client.set(b"k", b"value", flags=65535, exptime=1000)
    assert await client.get(b"k", return_flags=True) == emcache.Item(b"value", 65535, None)
    for command, key in ((client.add, b"k"), (client.replace, b"none"), (client.append, b"none"), (client.prepend, b"none")):
        with pytest.raises(emcache.NotStoredStorageCommandError):
            await command(key, b"x")
    await client.append(b"k", b">")
    await client.prepend(b"k", b"<")
    found = await client.gets(b"k")
    assert found.value == b"<value>"
    await client.cas(b"k", b"second", found.cas)
    with pytest.raises(emcache.NotStoredStorageCommandError):
        await client.cas(b"k", b"stale", found.cas)
    for number in range(200):
        await client.set(b"k", b"%d" % number, noreply=True)
    await client.increment(b"k", 1, noreply=True)
    await client.touch(b"k", 1000, noreply=True)
    await client.delete(b"none", noreply=True)
    assert await client.increment(b"k", 5) == 205
    assert await client.decrement(b"k", 500) == 0
    with pytest.raises(emcache.NotFoundCommandError):
        await client.increment(b"none", 1)


async def _touch(client: Any, _host: Any) -> None:
    await client.set(b"k", b"v", flags=7)
    await client.touch(b"k", 1000)
    with pytest.raises(emcache.NotFoundCommandError):
        await client.touch(b"none", 1)
    assert await client.gat(1000, b"k", return_flags=True) == emcache.Item(b"v", 7, None)
    assert (await client.gats(1000, b"k")).cas == (await client.gets(b"k")).cas
    assert await client.gat(1000, b"none") is None
    keys = [b"k%d" % number for number in range(1000)]
    await asyncio.gather(*(client.set(key, key) for key in keys))
    found = await client.gat_many(1000, [*keys, b"none"])
    assert {key: item.value for key, item in found.items()} == {key: key for key in keys}
    assert sorted(await client.gats_many(1000, keys[:10])) == keys[:10]
    assert await client.get_many([b"none"]) == {}
    assert sorted(await client.gets_many(keys[:10])) == keys[:10]
    await client.delete(b"k")
    with pytest.raises(emcache.NotFoundCommandError):
        await client.delete(b"k")


async def _look(client: Any, host: Any) -> None:
    await client.set(b"k", b"v")
    found = await client.stats(host)
    assert int(found["curr_items"]) >= 1  # memcached also counts what was flushed and not reused yet
    assert found["version"] == await client.version(host)
    assert (await client.stats(host, "settings"))["cas_enabled"] == "yes"
    await client.verbosity(host, 1)
    await client.flush_all(host, delay=1000)
    assert (await client.get(b"k")).value == b"v"
    await client.flush_all(host, noreply=True)
    assert await client.get(b"k") is None


async def _batch(client: Any, _host: Any) -> None:
    await asyncio.gather(*(client.set(b"k%d" % number, b"%d" % number) for number in range(500)))
    found = await asyncio.gather(*(client.get(b"k%d" % number) for number in range(600)))
    assert [item and item.value for item in found] == [b"%d" % number for number in range(500)] + [None] * 100


@pytest.mark.parametrize("use", [_store, _touch, _look])
def test_emcache(text_port: int, use: Callable[[Any, Any], Awaitable[None]]) -> None:
    with_emcache(text_port, use)


def test_emcache_in_batches(text_port: int) -> None:
    with_emcache(text_port, _batch, autobatching=True)


def test_emcache_with_a_login(protected: Any, login: tuple[str, str]) -> None:
    user, password = login
    with_emcache(protected.port, _store, username=user, password=password)
