"""Servers in the process of servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.client import AuthenticationError, NotFoundError, open_client
from trio_spool.engine import ENGINES
from trio_spool.server import ListenError, SettingsError
from trio_spool.testing import ServerDiedError, running_server
from trio_spool.testing._process import HostProcess, current_host


async def test_each_server_is_empty_and_its_own() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(running_server(buckets=("a",))) for _ in range(3)]
        assert len({server.port for server in servers}) == 3
        for number, server in enumerate(servers):
            async with open_client(server.host, server.port, bucket="a") as client:
                with pytest.raises(NotFoundError):
                    await client.get(b"key")
                await client.set(b"key", b"%d" % number)
                await client.change_collections(lambda old: old.with_collection("shop.orders"))
        process = current_host()
    with running_server() as server:
        assert current_host() is process
        async with open_client(server.host, server.port) as client:
            assert await client.list_buckets() == ["default"]


async def test_clients_of_a_server_that_stopped_are_disconnected() -> None:
    with ExitStack() as stack:
        with running_server(drain_timeout=0) as server:
            half = stack.enter_context(socket.create_connection((server.host, server.port)))
            half.sendall(b"\x80")  # half a request
            idle = stack.enter_context(socket.create_connection((server.host, server.port)))
        for connection in (half, idle):
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))
    await trio.lowlevel.checkpoint()


def test_servers_of_many_threads() -> None:
    def run(_: int) -> int:
        with running_server() as server, socket.create_connection((server.host, server.port)):
            return server.port

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(24)))


def test_paths_are_those_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current_host()  # runs already, in another directory
    monkeypatch.chdir(tmp_path)
    with running_server(data_dir="data", fsync="no", listen=["tcp://127.0.0.1:0", "unix:socket"]):
        assert (tmp_path / "data").is_dir()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("socket")
    assert not (tmp_path / "socket").exists()


async def test_files_last(tmp_path: Path) -> None:
    for times in range(2):
        with running_server(data_dir=tmp_path, fsync="no") as server:
            async with open_client(server.host, server.port) as client:
                assert await client.increment(b"times") == times


async def test_users(tmp_path: Path) -> None:
    users = write_users(tmp_path / "users", user("ada", Role.ADMIN, password="secret"))
    with running_server(users=users, username="ada", password="secret", buckets=("a",)) as server:
        async with open_client(server.host, server.port, username=server.username, password=server.password) as client:
            assert await client.list_buckets() == ["a", "default"]
    with pytest.raises(AuthenticationError) as caught:
        with running_server(users=users, username="ada", password="wrong", buckets=("a",)):
            pass
    assert caught.value.status == 0x20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vbuckets": 0}, SettingsError, "vbuckets must be from 1 to 1024; got 0"),
        ({"engine": "lmdb"}, SettingsError, "data directory"),
        ({"users": Path("/nowhere/users")}, SettingsError, "the file of users .* is missing"),
        ({"buckets": ("a b",)}, ValueError, "the bucket 'a b' can't be created"),
        ({"listen": ("unix:socket",)}, ValueError, "must be a TCP address"),
        ({"listen": 7}, SettingsError, "listen must be"),
        ({"colour": "blue"}, TypeError, "colour"),
        ({"engine": ENGINES["memory"], "data_dir": open}, SettingsError, "data-dir must be a path"),
        (
            {"engine": lambda: None},
            ValueError,
            "can't be sent to the server's process: .*; run the server in a thread: thread=True",
        ),
    ],
)
def test_it_says_why_it_does_not_start(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        with running_server(**arguments):
            pytest.fail("it started")
    with running_server():
        pass


def test_a_port_that_is_taken() -> None:
    with running_server() as server, pytest.raises(ListenError, match="in use") as caught:
        with running_server(listen=(f"tcp://{server.address}",)):
            pytest.fail("it started")
    assert "in listen" in str(caught.value.__cause__)  # the traceback of the other process


def test_a_process_that_dies_fails_the_blocks_of_its_servers() -> None:
    host = current_host()
    with pytest.raises(ServerDiedError, match=f"process {host.pid} was killed by SIGKILL while the server was in use"):
        with running_server():
            os.kill(host.pid, signal.SIGKILL)
    with running_server() as server:
        assert current_host().pid != host.pid
        socket.create_connection((server.host, server.port)).close()


def test_a_process_that_dies_before_a_server_has_started(tmp_path: Path) -> None:
    """A module that the server needs, and that ends the process, stands for whatever does."""
    (tmp_path / "ender.py").write_text("import os\nprint('about to end', flush=True)\nos._exit(7)\n")
    script = (
        "import sys, types\n"
        "from trio_spool.testing import ServerDiedError, running_server\n"
        "module = sys.modules['ender'] = types.ModuleType('ender')\n"
        "class Ender: pass\n"
        "Ender.__module__ = 'ender'; module.Ender = Ender\n"
        "try:\n"
        "    with running_server(engine=Ender()): pass\n"
        "except ServerDiedError as exc:\n"
        "    print(exc)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert "ended with status 7 while the server was in use; its log ends:\nabout to end\n" in done.stdout, done.stderr


def test_a_server_that_fails_tells_whoever_leaves_the_block(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "async def serve(settings, *, task_status, stop):\n"
        "    task_status.started(['tcp://127.0.0.1:1'])\n"
        "    await stop.wait()\n"
        "    raise OSError('it broke')\n"
    )
    script = (
        "import failing\n"
        "from trio_spool.testing._hosted import HostedServer\n"
        "from trio_spool.testing._running import stopping\n"
        "with stopping(HostedServer({'engine': 'memory'}, buckets=(), collections=(), username='', password='', serve=failing.serve)):\n"
        "    print('started')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "started\n"
    assert "raise OSError('it broke')" in done.stderr  # in the other process
    assert done.stderr.endswith("OSError: it broke\n")


def test_the_current_directory_may_have_modules_of_any_name(tmp_path: Path) -> None:
    for name in ("trio", "pickle", "attrs", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    script = "import sys; sys.path.pop(0)\nfrom trio_spool.testing import running_server\nwith running_server(): print('ran')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ran\n", done.stderr


def test_it_ends_with_its_parent_although_a_forked_process_holds_the_socket(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "from trio_spool.testing import running_server\n"
        "from trio_spool.testing._process import current_host\n"
        "running = running_server(); running.__enter__()\n"
        "if (child := os.fork()) == 0:\n"
        "    os.close(1)\n"
        "    time.sleep(60)\n"
        "print(current_host().pid, child, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    host, child = map(int, done.stdout.split())
    try:
        wait_for_end(host)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_process_has_servers_of_its_own(tmp_path: Path) -> None:
    script = (
        "import json, os, sys\n"
        "from trio_spool.testing import running_server\n"
        "from trio_spool.testing._process import current_host\n"
        "with running_server() as server:\n"
        "    first = current_host().pid\n"
        "    if (child := os.fork()) == 0:\n"
        "        with running_server():\n"
        "            print(json.dumps([first, current_host().pid]), flush=True)\n"
        "        from trio_spool.testing._process import close_host; close_host()\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = json.loads(done.stdout)
    assert first != second
    for pid in (first, second):
        wait_for_end(pid)


def test_a_server_that_is_left_running_does_not_keep_the_process() -> None:
    script = (
        "from trio_spool.testing import running_server; running = running_server(); running.__enter__()\n"
        "from trio_spool.testing._process import current_host; print(current_host().pid)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    wait_for_end(int(done.stdout))


def test_a_process_that_does_not_end_is_killed() -> None:
    host = HostProcess()
    os.kill(host.pid, signal.SIGSTOP)
    host.close()
    wait_for_end(host.pid)


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")
