"""Couchbase's SDK for Node, against a server in a process of its own; node/couchbase.js has the checks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.commands import run


@pytest.fixture
def with_tls(start: Callable[..., Any], users: Path, authority: Authority) -> Iterator[Any]:
    """A server that listens with TLS as well, and asks for a login."""
    cert, key = authority.issue("localhost", "127.0.0.1", "localhost")
    files = [f"--tls-cert={cert}", f"--tls-key={key}"]
    listen = ("--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0")
    with start("--engine", "memory", *listen, *files, "--users", str(users), listeners=2) as process:
        yield process


def check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ok scans", "ok a wrong password"} <= set(done.stdout.splitlines())


def test_the_default_collection(node: Any, protected: Any, login: tuple[str, str]) -> None:
    check(node("couchbase.js", f"couchbase://{protected.address}", *login, "_default", "_default"))


def test_a_named_collection(node: Any, protected: Any, login: tuple[str, str]) -> None:
    user, password = login
    run("collection", "create", "-u", user, protected.address, "shop.orders", env={"TRIO_SPOOL_PASSWORD": password})
    check(node("couchbase.js", f"couchbase://{protected.address}", *login, "shop", "orders"))


def test_tls(node: Any, with_tls: Any, login: tuple[str, str], authority: Authority) -> None:
    address = with_tls.addresses[1].replace("tls", "couchbases")
    check(node("couchbase.js", address, *login, "_default", "_default", str(authority.ca_file)))


def test_managers(node: Any, start: Callable[..., Any], users: Path, login: tuple[str, str]) -> None:
    words = ("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--management", "tcp://127.0.0.1:0", "--users", str(users))
    with start(*words, listeners=2) as process:
        done = node("managers.js", f"couchbase://{process.address}", *login)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {"ok buckets", "ok scopes and collections", "ok deleting"} <= set(done.stdout.splitlines())


def test_transactions(node: Any, protected: Any, login: tuple[str, str]) -> None:
    user, password = login
    environment = {"TRIO_SPOOL_PASSWORD": password}
    run("collection", "create", "-u", user, protected.address, "shop.orders", env=environment)
    run("bucket", "create", "-u", user, protected.address, "other", env=environment)
    done = node("transactions.js", f"couchbase://{protected.address}", *login)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ok commit", "ok rollback", "ok a conflict", "ok expiry", "ok query", "ok transfers"} <= set(done.stdout.splitlines())
