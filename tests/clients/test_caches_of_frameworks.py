"""The caches of Django and Flask-Caching, in the text protocol, against a server in a process of its own and against memcached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("flask_caching")

import django
import flask_caching
from django.conf import settings
from django.core.cache import caches
from django.test.utils import override_settings
from flask import Flask

BACKENDS = ["PyMemcacheCache", "PyLibMCCache"]


@pytest.fixture(params=BACKENDS)
def cache(request: pytest.FixtureRequest, text_port: int) -> Iterator[Any]:
    if not settings.configured:
        settings.configure(SESSION_ENGINE="django.contrib.sessions.backends.cache", SECRET_KEY="a" * 50)
        django.setup()
    backend = f"django.core.cache.backends.memcached.{request.param}"
    configuration = {"default": {"BACKEND": backend, "LOCATION": f"127.0.0.1:{text_port}", "KEY_PREFIX": "site"}}
    with override_settings(CACHES=configuration):
        yield caches["default"]
        caches["default"]._cache.disconnect_all()


def test_django(cache: Any) -> None:
    for value in ("text", "ü", b"bytes\0\r\n", 5, 2.5, True, None, ["list"], {"a": {1}}, "x" * 900_000):
        cache.set("k", value, timeout=1000)
        assert cache.get("k", "default") == value
    assert cache.get("none", "default") == "default"
    assert not cache.add("k", "again")
    assert cache.add("new", "added", timeout=None)
    assert cache.get_or_set("made", lambda: [1]) == [1]
    assert cache.get_many(["new", "made", "none"]) == {"new": "added", "made": [1]}
    assert cache.set_many({f"k{number}": number for number in range(500)}) == []
    assert len(cache.get_many([f"k{number}" for number in range(600)])) == 500
    assert cache.incr("k5", 10) == 15
    assert cache.decr("k5") == 14
    with pytest.raises(ValueError, match="none"):
        cache.incr("none")
    assert cache.touch("new", 1000)
    assert not cache.touch("none")
    cache.set("versioned", 1)
    assert cache.incr_version("versioned") == 2
    assert cache.get("versioned", version=2) == 1
    assert cache.delete("new")
    assert not cache.delete("new")
    cache.delete_many(["k1", "k2"])
    assert cache.get_many(["k1", "k2", "k3"]) == {"k3": 3}
    cache.set("gone", 1, timeout=-1)
    assert cache.get("gone") is None
    cache.clear()
    assert cache.get("k3") is None


def test_sessions_of_django(cache: Any) -> None:
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["cart"] = ["tea", "coffee"]
    session.set_expiry(1000)
    session.save()
    first = session.session_key
    again = SessionStore(first)
    assert again["cart"] == ["tea", "coffee"]
    again.cycle_key()
    assert again.session_key != first
    assert not SessionStore().exists(first)
    assert SessionStore(again.session_key)["cart"] == ["tea", "coffee"]
    again.flush()
    assert SessionStore(again.session_key).load() == {}


def test_flask_caching(text_port: int) -> None:
    app = Flask(__name__)
    cache = flask_caching.Cache(
        app,
        config={
            "CACHE_TYPE": "MemcachedCache",
            "CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{text_port}"],
            "CACHE_KEY_PREFIX": "site:",
            "CACHE_DEFAULT_TIMEOUT": 1000,
        },
    )
    calls: list[int] = []

    @app.route("/page")
    @cache.cached()
    def page() -> str:
        calls.append(0)
        return f"made {len(calls)} times"

    @cache.memoize()
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    client = app.test_client()
    assert {client.get("/page").text for _ in range(3)} == {"made 1 times"}
    with app.app_context():
        assert [square(number) for number in (2, 3, 2, 3)] == [4, 9, 4, 9]
        assert calls == [0, 2, 3]
        cache.delete_memoized(square, 2)
        assert [square(2), square(3)] == [4, 9]
        assert calls == [0, 2, 3, 2]
        assert cache.set("k", {"a": 1})
        assert cache.get_dict("k", "none") == {"k": {"a": 1}, "none": None}
        assert cache.has("k")
        assert not cache.add("k", 1)
        assert cache.delete("k")
        assert cache.clear()
        assert cache.get("k") is None
    assert client.get("/page").text == "made 5 times"
