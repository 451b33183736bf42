"""Couchbase's SDKs and a server behind a port mapping, as in a container.

The server listens at 127.0.0.2 and the forwarder at 127.0.0.1, where the server's own ports lead nowhere: a client that goes to one of
them, because the server has named it, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.forwarder import forwarding
from support.process import running

PATIENT = timedelta(seconds=20)
INSIDE = ("tcp://127.0.0.2:0", "tls://127.0.0.2:0")


@contextmanager
def mapped(users: Path, authority: Authority, *, advertise: bool = True) -> Iterator[list[str]]:
    """Run a server behind a forwarder; yields the connection strings outside, plain and with TLS."""
    cert, key = authority.issue("localhost", "127.0.0.1", "localhost")
    with ExitStack() as stack:
        forwarder = stack.enter_context(forwarding(2))
        words = [f"--listen={address}" for address in INSIDE]
        words += ["--engine=memory", f"--users={users}", f"--tls-cert={cert}", f"--tls-key={key}"]
        if advertise:
            words += [f"--advertise={port}:{address}" for port, address in zip(forwarder.ports, INSIDE, strict=True)]
        server = stack.enter_context(running(*words, listeners=2))
        forwarder.lead_to(*[address.partition("//")[2] for address in server.addresses])
        yield [f"{scheme}://127.0.0.1:{port}" for scheme, port in zip(("couchbase", "couchbases"), forwarder.ports, strict=True)]


@pytest.fixture(scope="module")
def outside(users: Path, authority: Authority) -> Iterator[list[str]]:
    """A server whose outside ports are advertised."""
    with mapped(users, authority) as addresses:
        yield addresses


def authenticator(login: tuple[str, str], authority: Authority, encrypted: bool) -> Any:
    pytest.importorskip("couchbase")
    from couchbase.auth import PasswordAuthenticator

    return PasswordAuthenticator(*login, **({"cert_path": str(authority.ca_file)} if encrypted else {}))


@pytest.mark.parametrize("network", ["", "?network=external", "?network=default"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_python(outside: list[str], login: tuple[str, str], authority: Authority, encrypted: bool, network: str) -> None:
    used = authenticator(login, authority, encrypted)
    from couchbase.cluster import Cluster
    from couchbase.kv_range_scan import RangeScan
    from couchbase.options import ClusterOptions

    cluster = Cluster(outside[encrypted] + network, ClusterOptions(used))
    try:
        cluster.wait_until_ready(PATIENT)
        collection = cluster.bucket("default").default_collection()
        for key in "abc":
            collection.upsert(key, {"key": key})
        assert collection.get("b").content_as[dict] == {"key": "b"}
        assert [found.id for found in collection.scan(RangeScan())] == ["a", "b", "c"]
    finally:
        cluster.close()


@pytest.mark.parametrize("encrypted", [False, True])
def test_node(outside: list[str], node: Callable[..., Any], login: tuple[str, str], authority: Authority, encrypted: bool) -> None:
    done = node("mapped.js", outside[encrypted], *login, *([str(authority.ca_file)] if encrypted else []))
    assert (done.returncode, done.stdout) == (0, "ok mapped\n"), done.stdout + done.stderr


def test_without_an_advertised_port_a_bucket_can_not_be_opened(users: Path, authority: Authority, login: tuple[str, str]) -> None:
    used = authenticator(login, authority, False)
    from couchbase.cluster import Cluster
    from couchbase.exceptions import CouchbaseException
    from couchbase.options import ClusterOptions, ClusterTimeoutOptions

    soon = ClusterTimeoutOptions(connect_timeout=timedelta(seconds=2), bootstrap_timeout=timedelta(seconds=2))
    with mapped(users, authority, advertise=False) as addresses:
        cluster = Cluster(addresses[0], ClusterOptions(used, timeout_options=soon))
        try:
            with pytest.raises(CouchbaseException):
                cluster.bucket("default").default_collection().get("a", timeout=timedelta(seconds=2))
        finally:
            cluster.close()
