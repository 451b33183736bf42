"""Servers that run in a thread for as long as a block."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from support.certificates import Authority
from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.client import Client, NotFoundError, ServerError, open_client
from trio_spool.mcbp import HEADER, Opcode, encode_request
from trio_spool.server import ListenError, SettingsError
from trio_spool.testing import Server
from trio_spool.testing import running_server as running_server_anywhere
from trio_spool.testing._job import Job
from trio_spool.testing._running import stopping
from trio_spool.testing._thread import ServerThread

running_server = partial(running_server_anywhere, thread=True)


def threads() -> set[threading.Thread]:
    """Those that are there, but for the idle ones that Trio keeps for ten seconds."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread ")}


def receive(connection: socket.socket) -> None:
    """Receive one response without a value."""
    received = b""
    while len(received) < HEADER.size:
        data = connection.recv(HEADER.size - len(received))
        assert data, "the server closed the connection"
        received += data


def noop(connection: socket.socket) -> None:
    connection.sendall(encode_request(Opcode.NOOP))
    receive(connection)


def connect(server: Server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=10)


async def call(client: Client, opcode: Opcode, key: bytes, value: bytes = b"") -> bytes:
    return (await (await client.start(opcode, key=key, value=value)).expect_success()).value


async def test_it_has_what_a_client_needs() -> None:
    with running_server() as server:
        assert server.host == "127.0.0.1"
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.couchbase_connection_string == f"couchbase://127.0.0.1:{server.port}"
        assert (server.bucket, server.tls) == ("default", False)
        async with open_client(server.host, server.port) as client:
            assert await call(client, Opcode.LIST_BUCKETS, b"") == b"default"
            login = b"\0".join([b"", server.username.encode(), server.password.encode()])
            await call(client, Opcode.SASL_AUTH, b"PLAIN", login)
            await client.set(b"key", b"value")
            assert (await client.get(b"key")).value == b"value"


def test_addresses_with_brackets_and_with_tls() -> None:
    server = Server(host="::1", port=11207, username="u", password="p", tls=True)
    assert server.address == "[::1]:11207"
    assert server.couchbase_connection_string == "couchbases://[::1]:11207"


def test_no_thread_is_left() -> None:
    before = threads()
    for _ in range(20):
        with running_server() as server:
            assert threads() > before
            with connect(server) as connection:
                noop(connection)
        assert threads() == before
        with pytest.raises(ConnectionRefusedError):
            connect(server)


async def test_servers_do_not_share_anything() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(running_server()) for _ in range(4)]
        assert len({server.port for server in servers}) == 4
        for number, server in enumerate(servers):
            async with open_client(server.host, server.port) as client:
                await client.add(b"key", b"%d" % number)
        for number, server in enumerate(servers):
            async with open_client(server.host, server.port) as client:
                assert (await client.get(b"key")).value == b"%d" % number


def test_servers_of_many_threads() -> None:
    before = threads()

    def run(_: int) -> int:
        with running_server() as server, connect(server) as connection:
            noop(connection)
            return server.port

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(24)))
    assert threads() == before


def test_begun_in_one_thread_and_ended_in_another() -> None:
    before = threads()
    running = running_server()
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(running.__enter__).result()
    with connect(server) as connection:
        noop(connection)
        running.__exit__(None, None, None)
        assert connection.recv(1) == b""
    assert threads() == before


def test_in_asyncio() -> None:
    async def main() -> bytes:
        with running_server() as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(encode_request(Opcode.NOOP))
            await reader.readexactly(HEADER.size)
        rest = await reader.read()
        writer.close()
        return rest

    assert asyncio.run(main()) == b""


def test_idle_clients_do_not_hold_it_up() -> None:
    with ExitStack() as stack:
        with running_server(drain_timeout=60) as server:
            connections = [stack.enter_context(connect(server)) for _ in range(5)]
            for connection in connections[:-1]:
                noop(connection)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        assert connections[0].recv(1) == b""


def test_a_client_in_the_middle_of_a_request_does_not_either() -> None:
    with ExitStack() as stack:
        with running_server(drain_timeout=0.05) as server:
            connection = stack.enter_context(connect(server))
            noop(connection)
            connection.sendall(encode_request(Opcode.NOOP) + encode_request(Opcode.NOOP)[:-1])
            receive(connection)
            began = time.monotonic()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(("settings", "expected"), [({}, b"1.0"), ({"drain_timeout": 7.0}, b"7.0")])
async def test_it_waits_a_second_unless_told_otherwise(settings: dict[str, float], expected: bytes) -> None:
    with running_server(**settings) as server:
        async with open_client(server.host, server.port) as client, client.stat("settings") as statistics:
            assert dict([found async for found in statistics])[b"drain_timeout"] == expected


async def test_buckets() -> None:
    with running_server(buckets=("a", "b"), vbuckets=4) as server:
        async with open_client(server.host, server.port) as client:
            assert await call(client, Opcode.LIST_BUCKETS, b"") == b"a b default"
            await client.set(b"key", b"value")
            await call(client, Opcode.SELECT_BUCKET, b"b")
            with pytest.raises(NotFoundError):
                await client.get(b"key")


async def test_files_last(tmp_path: Path) -> None:
    for times in range(2):
        with running_server(data_dir=tmp_path, fsync="no", buckets=iter(["a"])) as server:
            async with open_client(server.host, server.port) as client:
                await call(client, Opcode.SELECT_BUCKET, b"a")
                assert await client.increment(b"times") == times


def test_paths_may_be_text(tmp_path: Path) -> None:
    with running_server(data_dir=str(tmp_path / "data"), fsync="no", listen="tcp://127.0.0.1:0"):
        assert (tmp_path / "data").is_dir()
    with pytest.raises(SettingsError, match=r"the file of users .*none is missing"):
        with running_server(users=str(tmp_path / "none")):
            pass


async def test_users(tmp_path: Path) -> None:
    users = tmp_path / "users"
    write_users(users, user("ada", Role.ADMIN, password="secret"))
    with running_server(users=users, username="ada", password="secret", buckets=("a",)) as server:
        assert (server.username, server.password) == ("ada", "secret")
        async with open_client(server.host, server.port) as client:
            await call(client, Opcode.SASL_AUTH, b"PLAIN", b"\0ada\0secret")
            assert await call(client, Opcode.LIST_BUCKETS, b"") == b"a default"
    with pytest.raises(ServerError):
        with running_server(users=users, username="ada", password="wrong", buckets=("a",)):
            pass


def test_tls(authority: Authority) -> None:
    context = authority.client()
    with ExitStack() as stack:
        with running_server(listen=("tls://127.0.0.1:0", "tcp://127.0.0.1:0"), buckets=("a",), **authority.files) as server:
            assert server.couchbase_connection_string == f"couchbases://127.0.0.1:{server.port}"
            encrypted = context.wrap_socket(stack.enter_context(connect(server)), server_hostname=server.host)
            noop(stack.enter_context(encrypted))


def test_buckets_need_a_connection_without_tls(authority: Authority) -> None:
    with pytest.raises(ValueError, match="without TLS"):
        with running_server(listen=("tls://127.0.0.1:0",), buckets=("a",), **authority.files):
            pass


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vbuckets": 0}, SettingsError, "vbuckets"),
        ({"engine": "lmdb"}, SettingsError, "data directory"),
        ({"users": Path("/nowhere/users")}, SettingsError, "the file of users .* is missing"),
        ({"buckets": ("a b",)}, ValueError, "the bucket 'a b' can't be created"),
        ({"listen": ("unix:socket",)}, ValueError, "must be a TCP address"),
        ({"colour": "blue"}, TypeError, "colour"),
    ],
)
def test_it_says_why_it_does_not_start(arguments: dict, error: type[Exception], message: str) -> None:
    before = threads()
    with pytest.raises(error, match=message):
        with running_server(**arguments):
            pytest.fail("it started")
    assert threads() == before


def test_a_port_that_is_taken() -> None:
    before = threads()
    with running_server() as server, pytest.raises(ListenError, match="in use"):
        with running_server(listen=(f"tcp://{server.address}",)):
            pytest.fail("it started")
    assert threads() == before


def test_a_server_that_fails_tells_whoever_leaves_the_block() -> None:
    failing = threading.Event()

    async def serve(settings: object, *, task_status: trio.TaskStatus[list[str]], stop: trio.Event) -> None:
        task_status.started(["tcp://127.0.0.1:1"])
        await trio.to_thread.run_sync(failing.wait)
        raise OSError("the server's own")

    before = threads()
    with pytest.raises(OSError, match="the server's own") as caught:
        with stopping(ServerThread(Job({"engine": "memory"}, (), (), "ada", "secret", serve))):
            failing.set()
            while threads() != before:
                time.sleep(0.001)
            raise ValueError("the test's own")
    assert isinstance(caught.value.__context__, ValueError)
    assert "serve" in [entry.name for entry in caught.traceback]


def test_what_the_block_raises_is_raised() -> None:
    before = threads()
    with pytest.raises(KeyboardInterrupt):
        with running_server():
            raise KeyboardInterrupt
    assert threads() == before


def test_importing_it_does_not_load_the_server() -> None:
    script = "import sys, trio_spool.testing.plugin; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout.split())
    assert "trio_spool.testing" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"trio", "structlog", "lmdb", "rich", "click", "prometheus_client"}
    assert {name for name in loaded if name.startswith("trio_spool.")} == {
        "trio_spool._version", "trio_spool.testing", "trio_spool.testing._accounts", "trio_spool.testing._contents",
        "trio_spool.testing._errors", "trio_spool.testing._options", "trio_spool.testing._running", "trio_spool.testing._server",
        "trio_spool.testing.plugin",
    }  # fmt: skip


def test_a_server_that_is_left_running_does_not_keep_the_process() -> None:
    script = "from trio_spool.testing import running_server; running = running_server(thread=True); running.__enter__()"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
