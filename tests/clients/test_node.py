"""Couchbase's SDK for Node, against a server in a process of its own; node/couchbase.js has the checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme


@pytest.fixture
def with_tls(start: Callable[..., Any], users: Path, tmp_path: Path) -> Iterator[Any]:
    """A server that listens with TLS as well, and asks for a login; and in ``ca.pem`` who signed its certificate."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = [f"--tls-{name}={tmp_path / 'cert.pem'}" for name in ("cert", "key")]
    listen = ("--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0")
    with start("--engine", "memory", *listen, *files, "--users", str(users), listeners=2) as process:
        yield process


def check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ok scans", "ok a wrong password"} <= set(done.stdout.splitlines())


def test_the_default_collection(node: Any, protected: Any, login: tuple[str, str]) -> None:
    check(node("couchbase.js", f"couchbase://{protected.server}", *login, "_default", "_default"))


def test_a_named_collection(node: Any, protected: Any, login: tuple[str, str]) -> None:
    user, password = login
    command = [sys.executable, "-m", "trio_spool", "collection", "create", "--username", user, protected.server, "shop.orders"]
    subprocess.run(command, env={**os.environ, "TRIO_SPOOL_PASSWORD": password}, check=True, capture_output=True, timeout=60)
    check(node("couchbase.js", f"couchbase://{protected.server}", *login, "shop", "orders"))


def test_tls(node: Any, with_tls: Any, login: tuple[str, str], tmp_path: Path) -> None:
    address = with_tls.addresses[1].replace("tls", "couchbases")
    check(node("couchbase.js", address, *login, "_default", "_default", str(tmp_path / "ca.pem")))
