"""Logins, TLS, buckets and collections, as the client library gives them, against services and against peers that are none."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme

from support import users
from support.certificates import Authority
from trio_spool.auth import Role
from trio_spool.client import (
    AccessError,
    AuthenticationError,
    ConnectionLostError,
    ExistsError,
    LockedError,
    NoBucketError,
    NotFoundError,
    ServerError,
    backup_server,
    open_client,
    read_manifest,
)
from trio_spool.mcbp import Feature, Opcode, Status, encode_response

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # noqa: F401

HERE = "127.0.0.1"
USERS = [users.ANN, users.BOB, users.EVE, users.user("a=b,c", Role.READ, Role.WRITE, password="pen,cil")]
ANN = {"username": "ann", "password": "pencil"}
BOB = {"username": "bob", "password": "pencil"}
EVE = {"username": "eve", "password": "pencil"}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return users.write_users(tmp_path / "users.json", *USERS)


@pytest.fixture
async def guarded(start_service, users_file: Path) -> int:
    """A service with users."""
    return await start_service(engine="memory", users=users_file)


@pytest.fixture
def start_encrypted(start_service, authority: Authority) -> Callable[..., Awaitable[int]]:
    """Start a service with TLS, and return its port."""

    async def start(**values) -> int:
        return await start_service(
            engine="memory", listen=(f"tls://{HERE}:0",), tls_client_ca=authority.ca_file, **authority.files, **values
        )

    return start


# Logins


@pytest.mark.parametrize(("name", "password"), [("ann", "pencil"), ("a=b,c", "pen,cil")])
async def test_scram(guarded: int, name: str, password: str) -> None:
    async with open_client(HERE, guarded, username=name, password=password) as client:
        await client.set(b"k", b"v")
        assert (await client.get(b"k")).value == b"v"


@pytest.mark.parametrize(("name", "password"), [("ann", "pen"), ("nobody", "pencil"), ("ann", "")])
async def test_refused_logins(guarded: int, name: str, password: str) -> None:
    with pytest.raises(AuthenticationError, match=f"the login of '{name}' was refused") as caught:
        async with open_client(HERE, guarded, username=name, password=password):
            raise AssertionError
    assert caught.value.status == Status.AUTH_ERROR


async def test_nobody_may_do_anything_without_a_login(guarded: int) -> None:
    async with open_client(HERE, guarded) as client:
        await client.version()
        with pytest.raises(AuthenticationError):
            await client.get(b"k")


async def test_a_server_without_users_can_prove_nothing(port: int) -> None:
    with pytest.raises(AuthenticationError, match="could not prove that it knows the password"):
        async with open_client(HERE, port, **ANN):
            raise AssertionError


async def test_a_name_needs_a_password(port: int) -> None:
    for half in ({"username": "ann"}, {"password": "pencil"}):
        with pytest.raises(ValueError, match="a user name and a password"):
            async with open_client(HERE, port, **half):
                raise AssertionError


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (encode_response(Opcode.SASL_AUTH, Status.UNKNOWN_COMMAND, 0), ServerError, "has no logins"),
        (encode_response(Opcode.SASL_AUTH, Status.OK, 0, value=b"v=x"), AuthenticationError, "ended before the server proved"),
        (encode_response(Opcode.SASL_AUTH, Status.BUSY, 0), ServerError, "sasl_auth: Busy"),
        (
            encode_response(Opcode.SASL_AUTH, Status.AUTH_CONTINUE, 0, value=b"r=x"),
            AuthenticationError,
            "first message is malformed",
        ),
    ],
)
async def test_servers_that_log_in_otherwise(scripted, answer: bytes, error: type[Exception], message: str) -> None:
    port = await scripted(answer)
    with pytest.raises(error, match=message):
        async with open_client(HERE, port, **ANN):
            raise AssertionError


@pytest.fixture
def time_passes(nursery, mock_clock) -> None:
    """Let a second pass whenever nothing else can happen. A test needs `mock_clock` beside this: pytest-trio takes its clock from there."""

    async def jump() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1)

    nursery.start_soon(jump)


async def test_a_server_that_does_not_let_us_in(scripted, time_passes, mock_clock) -> None:
    port = await scripted()
    with pytest.raises(ConnectionLostError, match="did not answer the login within 30 seconds"):
        async with open_client(HERE, port, **ANN):
            raise AssertionError


# TLS


async def test_plain_under_tls(start_encrypted, authority: Authority, users_file: Path) -> None:
    port = await start_encrypted(users=users_file)
    tls = authority.client()
    async with open_client(HERE, port, tls=tls, username="a=b,c", password="pen,cil") as client:
        await client.set(b"k", b"v" * 1_000_000)
        assert len((await client.get(b"k")).value) == 1_000_000
        async with client.scan() as documents:
            assert [document.key async for document in documents] == [b"k"]
    for wrong in ({"username": "ann", "password": "pen"}, {"username": "nobody", "password": "pencil"}):
        with pytest.raises(AuthenticationError, match="was refused"):
            async with open_client(HERE, port, tls=tls, **wrong):
                raise AssertionError
    for impossible in ({"username": "a\0b", "password": "x"}, {"username": "ann", "password": "\ud800"}):
        with pytest.raises(AuthenticationError, match=r"zero bytes|surrogate"):
            async with open_client(HERE, port, tls=tls, **impossible):
                raise AssertionError


async def test_many_tasks_share_an_encrypted_client(start_encrypted, authority: Authority) -> None:
    port = await start_encrypted()
    async with open_client(HERE, port, tls=authority.client()) as client, trio.open_nursery() as nursery:

        async def work(number: int) -> None:
            key, value = b"%d" % number, b"%d" % number * 20_000
            for _ in range(10):
                await client.set(key, value)
                assert (await client.get(key)).value == value

        for number in range(10):
            nursery.start_soon(work, number)


async def test_a_certificate_is_a_login(start_encrypted, authority: Authority, users_file: Path) -> None:
    port = await start_encrypted(users=users_file, tls_client_required=True)
    async with open_client(HERE, port, tls=authority.client("ann@example.org", name="ann")) as client:
        assert await client.list_buckets() == ["default"]
    foreign = authority.client("ann@example.org", name="ann", ca=trustme.CA())
    for context in (authority.client(), foreign):
        with pytest.raises(ConnectionLostError):
            async with open_client(HERE, port, tls=context) as client:
                await client.noop()


async def test_certificates_that_are_not_trusted(start_encrypted, authority: Authority, tmp_path: Path) -> None:
    port = await start_encrypted()
    with pytest.raises(ConnectionLostError, match=rf"the certificate of {HERE}:{port} is not trusted: .*(self.signed|issuer)"):
        async with open_client(HERE, port, tls=Authority(tmp_path).client()):
            raise AssertionError
    with pytest.raises(ConnectionLostError, match=rf"localhost:{port} is not trusted: .*not valid for 'localhost'$"):
        async with open_client("localhost", port, tls=authority.client()):
            raise AssertionError


async def test_no_tls_at_the_other_end(port: int, scripted, authority: Authority) -> None:
    for other in (port, await scripted(b"ERROR\r\n"), await scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n")):
        with pytest.raises(ConnectionLostError, match=f"^{HERE}:{other} does not speak TLS"):
            async with open_client(HERE, other, tls=authority.client()):
                raise AssertionError


async def test_a_handshake_that_does_not_end(scripted, authority: Authority, time_passes, mock_clock) -> None:
    silent = await scripted()
    with pytest.raises(ConnectionLostError, match="did not complete the TLS handshake within 30 seconds"):
        async with open_client(HERE, silent, tls=authority.client()):
            raise AssertionError
    with trio.move_on_after(5) as scope:  # it can be cancelled, too
        async with open_client(HERE, silent, tls=authority.client()):
            raise AssertionError
    assert scope.cancelled_caught


async def test_tls_versions_that_do_not_meet(start_encrypted, authority: Authority, nursery) -> None:
    listener = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    listener.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.ca.issue_cert(HERE).configure_cert(listener)

    async def shake(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, listener, server_side=True, https_compatible=True) as encrypted:
            with pytest.raises(trio.BrokenResourceError):
                await encrypted.do_handshake()

    listeners = await nursery.start(trio.serve_tcp, shake, 0)
    context = authority.client()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ConnectionLostError, match=r"no version that this client supports|the TLS handshake with"):
        async with open_client(HERE, listeners[0].socket.getsockname()[1], tls=context):
            raise AssertionError


async def test_a_client_without_tls_where_it_is_wanted(start_encrypted) -> None:
    port = await start_encrypted()
    async with open_client(HERE, port) as client:
        with pytest.raises(ConnectionLostError, match=r"want TLS|broke"):
            await client.noop()


async def test_no_such_host() -> None:
    for host in ("no.such.host.invalid", "x" * 64 + ".invalid", "a..b"):
        with pytest.raises(ConnectionLostError, match="can't connect to"):
            async with open_client(host, 1):
                raise AssertionError


async def test_an_ipv6_address_stands_in_brackets() -> None:
    with pytest.raises(ConnectionLostError, match=r"can't connect to \[::1\]:1: "):
        async with open_client("::1", 1):
            raise AssertionError


async def test_a_server_that_says_why_it_refuses_a_certificate(authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.issue_cert(HERE).configure_cert(context)

    def refuse_in_thread() -> None:
        accepted, _ = listener.accept()
        with accepted, context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as encrypted:
            with pytest.raises(ssl.SSLError):
                encrypted.do_handshake()
            with socket.socket(fileno=encrypted.detach()) as raw, suppress(ConnectionResetError):
                while raw.recv(1000):  # else the system would take back what was sent last
                    pass

    with socket.create_server((HERE, 0)) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse_in_thread)
            with pytest.raises(ConnectionLostError, match="certificate required"):
                async with open_client(HERE, listener.getsockname()[1], tls=authority.client()) as client:
                    await client.noop()


# Buckets


async def test_buckets(guarded: int) -> None:
    async with open_client(HERE, guarded, **ANN) as client:
        await client.hello("test", (Feature.XERROR,))
        assert await client.list_buckets() == ["default"]
        await client.set(b"k", b"in default")
        await client.create_bucket("orders")
        with pytest.raises(ExistsError, match="already"):
            await client.create_bucket("orders")
        with pytest.raises(ServerError, match="can't be the name"):
            await client.create_bucket(".hidden")
        assert await client.list_buckets() == ["default", "orders"]
        await client.select_bucket("orders")
        with pytest.raises(NotFoundError):
            await client.get(b"k")
        await client.set(b"k", b"in orders")
        async with open_client(HERE, guarded, **BOB, bucket="orders") as other:
            assert await other.list_buckets() == ["orders"]
            assert (await other.get(b"k")).value == b"in orders"
            with pytest.raises(AccessError, match="the bucket 'default' does not exist, or this user may not use it"):
                await other.select_bucket("default")
            assert (await other.get(b"k")).value == b"in orders"
            with pytest.raises(AccessError):
                await other.delete_bucket("orders")
        async with open_client(HERE, guarded, **BOB) as other:
            with pytest.raises(NoBucketError):
                await other.get(b"k")
        with pytest.raises(AccessError, match="'nothing'"):
            async with open_client(HERE, guarded, **ANN, bucket="nothing"):
                raise AssertionError
        await client.delete_bucket("orders")
        with pytest.raises(NotFoundError, match="no bucket"):
            await client.delete_bucket("orders")
        with pytest.raises(ServerError, match="be deleted"):
            await client.delete_bucket("default")
        await client.select_bucket("default")
        assert (await client.get(b"k")).value == b"in default"


async def test_a_deleted_bucket_ends_the_connections_that_use_it(guarded: int) -> None:
    async with open_client(HERE, guarded, **ANN) as client:
        await client.create_bucket("orders")
        async with open_client(HERE, guarded, **BOB, bucket="orders") as other:
            await client.delete_bucket("orders")
            with pytest.raises(ConnectionLostError):
                while True:
                    await other.noop()


async def test_roles(guarded: int) -> None:
    async with open_client(HERE, guarded, **EVE) as client:
        await client.hello("test", (Feature.XERROR,))
        with pytest.raises(AccessError, match="'eve' lacks the role write"):
            await client.set(b"k", b"v")
        with pytest.raises(NotFoundError):
            await client.get(b"k")
        with pytest.raises(AccessError):
            await client.set_collections(await client.collections())


async def test_locks(port: int) -> None:
    async with open_client(HERE, port) as client:
        await client.hello("test", (Feature.XERROR,))
        await client.set(b"k", b"v")
        await (await client.start(Opcode.GET_LOCKED, key=b"k", extras=bytes(4))).expect_success()
        with pytest.raises(LockedError):
            await client.set(b"k", b"w")


async def test_a_backup_of_a_bucket(start_service, users_file: Path, tmp_path: Path) -> None:
    port = await start_service(data_dir=tmp_path / "data", fsync="no", users=users_file)
    async with open_client(HERE, port, **ANN) as client:
        await client.create_bucket("orders")
        await client.select_bucket("orders")
        await client.set(b"k", b"v")
    result = await backup_server(HERE, port, tmp_path / "backup", **ANN, bucket="orders")
    assert read_manifest(tmp_path / "backup") == result.manifest
    with pytest.raises(AuthenticationError):
        await backup_server(HERE, port, tmp_path / "other", username="ann", password="pen")
    with pytest.raises(AccessError):
        await backup_server(HERE, port, tmp_path / "third", **EVE)
