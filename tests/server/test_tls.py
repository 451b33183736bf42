"""TLS: what it takes to come in, certificates as users, and streams over it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from trio.testing import wait_all_tasks_blocked

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.mcbp import Opcode, Status, encode_request
from trio_spool.server import Settings, SettingsError
from trio_spool.server._listening import names_of, tls_context
from trio_spool.server.shared import Tuning

EXTRAS = bytes(8)
LISTEN = ("tls://127.0.0.1:0", "tcp://127.0.0.1:0")


@pytest.fixture
async def service(run_service, authority):
    async with run_service(listen=LISTEN, **authority.files) as served:
        yield served


async def fill(raw, count: int) -> None:
    frames = [encode_request(Opcode.SETQ, key=b"%0200d" % n, extras=EXTRAS) for n in range(count)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.send, *frames, encode_request(Opcode.NOOP))
        assert (await raw.receive()).opcode == Opcode.NOOP


async def read_keys(raw) -> int:
    count = 0
    while (await raw.receive()).key:
        count += 1
    return count


# Coming in


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(service, authority, version: ssl.TLSVersion) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    async with service.connect(context) as raw, service.connect(index=1) as plain:
        assert (await raw.call(Opcode.SET, key=b"k", value=b"v" * 100_000, extras=EXTRAS)).status == 0
        assert (await plain.call(Opcode.GET, key=b"k")).value == b"v" * 100_000
        assert (await raw.call(Opcode.GET, key=b"k")).value == b"v" * 100_000
        assert {connection.describe()["tls"] for connection in service.inside.connections} == {True, False}


def test_older_versions_are_not_spoken(authority) -> None:
    assert tls_context(Settings(**authority.files)).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_an_older_version_is_refused(service, authority, until) -> None:
    context = authority.client()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(trio.BrokenResourceError):
            async with service.connect(context):
                pass
        await until(lambda: bool(logs))
    assert [entry["event"] for entry in logs] == ["no TLS handshake"]


@pytest.mark.parametrize(
    "data", [encode_request(Opcode.NOOP) * 10, b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01" + bytes(100), b""]
)
async def test_what_is_not_tls_is_closed(service, authority, until, data: bytes) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service.connect() as plain:
            await plain.send(data)
            await plain.stream.send_eof()
            await plain.closed()
        await until(lambda: bool(logs))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("no TLS handshake", "warning")]
    await until(lambda: not service.inside.connections)
    async with service.connect(authority.client()) as raw:
        assert (await raw.call(Opcode.NOOP)).status == 0


async def test_a_client_that_does_not_shake_hands_is_closed(run_service, authority) -> None:
    options = {"listen": LISTEN, "tuning": Tuning(tls_timeout=0.05), **authority.files}
    async with run_service(**options) as service, service.connect() as silent, service.connect() as half:
        await half.send(b"\x16\x03\x01\x02\x00\x01")
        assert await silent.closed()
        assert await half.closed()


async def test_a_client_that_just_leaves(service, authority, until) -> None:
    with structlog.testing.capture_logs() as logs:
        async with service.connect(authority.client()) as raw:
            await raw.call(Opcode.NOOP)
            await trio.aclose_forcefully(raw.stream)
        async with service.connect(authority.client()) as raw:
            await raw.call(Opcode.NOOP)
            await raw.stream.aclose()
        async with service.connect(authority.client()) as raw:
            assert (await raw.call(Opcode.QUIT)).status == 0
            assert await raw.closed()
        await until(lambda: not service.inside.connections)
    assert logs == []


# Certificates of clients


@pytest.fixture
def users(tmp_path) -> Path:
    path = tmp_path / "users.json"
    names = ["ann", "bob.example.org", "carl@example.org"]
    return write_users(path, *(user(name, Role.ADMIN, password=name) for name in names))


@pytest.mark.parametrize(
    ("identities", "common_name", "user"),
    [
        (["x.example.org"], "ann", "ann"),
        (["x.example.org", "bob.example.org"], None, "bob.example.org"),
        (["carl@example.org"], "nobody", "carl@example.org"),
        (["bob.example.org"], "ann", "ann"),
    ],
)
async def test_certificates_log_in(run_service, authority, users, identities, common_name, user: str) -> None:
    options: dict[str, Any] = {"tls_client_ca": authority.ca_file, "tls_client_required": True}
    async with run_service(listen=LISTEN, users=users, **authority.files, **options) as service:
        async with service.connect(authority.client(*identities, name=common_name)) as raw:
            assert (await raw.call(Opcode.SET, key=b"k", value=b"v", extras=EXTRAS)).status == 0
            assert [connection.describe()["user"] for connection in service.inside.connections] == [user]
            # Whoever logs in is from then on who that says.
            assert await raw.login("ann", "wrong") == Status.AUTH_ERROR
            assert (await raw.call(Opcode.GET, key=b"k")).status == Status.AUTH_ERROR
            assert await raw.closed()


async def test_certificates_may_be_optional(run_service, authority, users) -> None:
    async with run_service(listen=LISTEN, users=users, tls_client_ca=authority.ca_file, **authority.files) as service:
        for context in (authority.client(), authority.client("nobody.example.org", name="nobody")):
            async with service.connect(context) as raw:
                assert (await raw.call(Opcode.VERSION)).status == 0
                assert (await raw.call(Opcode.GET, key=b"k")).status == Status.AUTH_ERROR
                assert await raw.closed()
            async with service.connect(context) as raw:
                assert await raw.login("ann", "ann") == 0
                assert (await raw.call(Opcode.GET, key=b"k")).status == Status.NOT_FOUND


async def test_certificates_may_be_required(run_service, authority, users, until) -> None:
    options: dict[str, Any] = {"tls_client_ca": authority.ca_file, "tls_client_required": True}
    async with run_service(listen=LISTEN, users=users, **authority.files, **options) as service:
        incidents = service.inside.incidents
        for times, context in enumerate((authority.client(), authority.client("ann.example.org", name="ann", ca=trustme.CA())), 1):
            with pytest.raises((trio.BrokenResourceError, AssertionError)):
                async with service.connect(context) as raw:
                    await raw.call(Opcode.VERSION)
            await until(lambda: incidents.counts() == {"no TLS handshake": times})


async def test_a_certificate_of_a_stranger_is_refused_where_it_is_optional(run_service, authority, users) -> None:
    async with run_service(listen=LISTEN, users=users, tls_client_ca=authority.ca_file, **authority.files) as service:
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            async with service.connect(authority.client("ann.example.org", name="ann", ca=trustme.CA())) as raw:
                await raw.call(Opcode.VERSION)


async def test_the_plain_port_of_the_same_service_asks_for_a_login(run_service, authority, users) -> None:
    options: dict[str, Any] = {"tls_client_ca": authority.ca_file, "tls_client_required": True}
    async with run_service(listen=LISTEN, users=users, **authority.files, **options) as service:
        async with service.connect(index=1) as raw:
            assert (await raw.call(Opcode.GET, key=b"k")).status == Status.AUTH_ERROR


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ()}])
def test_no_names(certificate: object) -> None:
    assert names_of(certificate) == []


# Files


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"\0garbage", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"])
def test_bad_files_are_named(authority, tmp_path, name: str, content: bytes | None) -> None:
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"bad\.pem"):
        tls_context(Settings(**{**authority.files, name: path}))


def test_a_key_of_another_certificate(authority, tmp_path) -> None:
    other = tmp_path / "other.pem"
    authority.ca.issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    with pytest.raises(SettingsError, match=r"other\.pem .*belong together"):
        tls_context(Settings(tls_cert=authority.cert, tls_key=other))


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_called_that(authority, tmp_path, monkeypatch, form: serialization.PrivateFormat) -> None:
    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret")))
    asked = []
    original = ssl.SSLContext.load_cert_chain

    def load_cert_chain(context: ssl.SSLContext, *args: Any, password: Any = None) -> None:
        asked.append(password)
        original(context, *args, password=password or "")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    with pytest.raises(SettingsError, match=r"locked\.pem is encrypted with a passphrase.*openssl pkey"):
        tls_context(Settings(tls_cert=authority.cert, tls_key=locked))
    assert None not in asked  # which would ask at the terminal


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the user may read everything")
def test_a_file_that_must_not_be_read(authority, tmp_path) -> None:
    path = tmp_path / "secret.pem"
    path.write_bytes(authority.key.read_bytes())
    path.chmod(0)
    with pytest.raises(SettingsError, match=r"secret\.pem"):
        tls_context(Settings(tls_cert=authority.cert, tls_key=path))


async def test_a_tls_address_needs_files() -> None:
    with pytest.raises(SettingsError, match="tls-cert"):
        Settings(listen=("tls://127.0.0.1:0",))


def test_required_certificates_need_an_authority(authority) -> None:
    for listen in (LISTEN, ("tcp://127.0.0.1:0",)):
        with pytest.raises(SettingsError, match="tls-client-ca"):
            Settings(listen=listen, tls_client_required=True, **authority.files)


def test_required_certificates_need_an_address_that_asks_for_them(authority) -> None:
    with pytest.raises(SettingsError, match=r"tcp://127\.0\.0\.1:0 has none; .* tls://HOST:PORT"):
        Settings(listen=("tcp://127.0.0.1:0",), tls_client_required=True, tls_client_ca=authority.ca_file, **authority.files)


# Streams


async def test_a_stream_to_a_stalled_reader_is_bounded_and_ends(run_service, authority, until) -> None:
    window = 50_000
    options: dict[str, Any] = {"window": window, "batch": 10_000, "send_timeout": 0.3, **authority.files}
    async with run_service(listen=LISTEN, **options) as service, service.connect(index=1) as filler:
        await fill(filler, 40_000)
        async with service.connect(authority.client()) as raw:
            raw.stream.transport_stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await raw.send(encode_request(Opcode.STAT, key=b"keys"))
            await raw.receive()
            await until(lambda: len(service.inside.connections) == 1)
        statistics = service.inside.connections.spool_statistics()
        assert 0 < statistics.high_water <= window + 10_000
        assert service.inside.limiter.borrowed_tokens == 0


async def test_a_slow_reader_gets_everything(run_service, authority) -> None:
    async with run_service(listen=LISTEN, window=20_000, batch=5_000, **authority.files) as service:
        async with service.connect(index=1) as filler, service.connect(authority.client()) as raw:
            await fill(filler, 20_000)
            await raw.send(encode_request(Opcode.STAT, key=b"keys"), encode_request(Opcode.NOOP, opaque=9))
            await wait_all_tasks_blocked()
            assert await read_keys(raw) == 20_000
            assert (await raw.receive()).opaque == 9


async def test_drain(run_service, authority) -> None:
    async with run_service(listen=LISTEN, window=20_000, drain_timeout=60, **authority.files) as service:
        async with service.connect(authority.client()) as raw, service.connect(authority.client()) as idle:
            await fill(raw, 20_000)
            await idle.call(Opcode.NOOP)
            await raw.send(encode_request(Opcode.STAT, key=b"keys"))
            await raw.receive()
            service.stop.set()
            assert await idle.closed()
            assert await read_keys(raw) == 19_999
            assert await raw.closed()


async def test_drain_with_a_handshake_that_has_not_begun(run_service, authority) -> None:
    async with run_service(listen=LISTEN, drain_timeout=0.05, **authority.files) as service, service.connect() as silent:
        await wait_all_tasks_blocked()
        service.stop.set()
        assert await silent.closed()


async def test_statistics_name_the_ports(service, authority) -> None:
    async with service.connect(authority.client()) as raw:
        await raw.send(encode_request(Opcode.STAT, key=b"settings"))
        rows = {}
        while (reply := await raw.receive()).key:
            rows[reply.key] = reply.value
        assert rows[b"tcpport"] == service.addresses[1].rsplit(":", 1)[1].encode()
        config = json.loads((await raw.call(Opcode.GET_CLUSTER_CONFIG)).value)
        assert config["nodesExt"][0]["services"] == {"kvSSL": service.port, "kv": int(rows[b"tcpport"])}
