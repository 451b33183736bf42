"""What the tests with other people's clients share: who must be there, users, and a memcached to compare with."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from support.process import Process, running
from support.users import user, write_users
from trio_spool.auth import Role

NODE = Path(__file__).parent / "node"
# With it, a client that is missing is a failure. The session "clients" of nox sets it.
REQUIRED = os.environ.get("TRIO_SPOOL_REQUIRE_CLIENTS") == "1"

if REQUIRED:
    for module in ("aiomcache", "couchbase", "django", "emcache", "flask_caching", "memcache", "pylibmc", "pymemcache"):
        importlib.import_module(module)


def _missing(reason: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(f"{reason}, and TRIO_SPOOL_REQUIRE_CLIENTS is set")
    pytest.skip(reason)


@pytest.fixture
def missing() -> Callable[[str], NoReturn]:
    """What a test calls that finds its client missing."""
    return _missing


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Find a program on the path."""

    def find(name: str) -> str:
        return shutil.which(name) or _missing(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def node(program: Callable[[str], str]) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Install Node's clients into a directory of their own, and return what runs a script there."""
    executable, npm = program("node"), program("npm")
    with tempfile.TemporaryDirectory() as directory:
        for file in NODE.glob("*.js*"):
            shutil.copy(file, directory)
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--no-update-notifier")
        installed = subprocess.run([npm, "install", *options], cwd=directory, capture_output=True, text=True, timeout=300)
        if installed.returncode:
            _missing(f"npm could not install the clients: {installed.stderr}")

        def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([executable, script, *arguments], cwd=directory, capture_output=True, text=True, timeout=120)

        yield run


@pytest.fixture(scope="session")
def login() -> tuple[str, str]:
    """The name and the password of who may do everything."""
    return "root", "pass=w,rd"


@pytest.fixture(scope="session")
def users(login: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with that user."""
    name, password = login
    return write_users(tmp_path_factory.mktemp("users") / "users.json", user(name, Role.ADMIN, password=password))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """A server in a process of its own: a client in C may keep the interpreter while it waits."""
    with running(str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", "--fsync", "no") as process:
        yield process


@pytest.fixture
def protected(start: Callable[..., Any], users: Path) -> Iterator[Any]:
    """A server that asks for a login."""
    with start("--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--users", str(users)) as process:
        yield process


@contextmanager
def _memcached(executable: str) -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = int(unused.getsockname()[1])
    command = [executable, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
            else:
                pytest.fail(f"memcached ended with {process.returncode}")
            yield port
        finally:
            process.terminate()


@pytest.fixture(params=["trio-spool", "memcached"])
def port(request: pytest.FixtureRequest, program: Callable[[str], str]) -> Iterator[int]:
    """The port of a server, and in a second run of a memcached, which shows that what a test expects is right."""
    if request.param == "trio-spool":
        yield request.getfixturevalue("server").port
    else:
        with _memcached(program("memcached")) as port:
            yield port


@pytest.fixture(scope="session", params=["trio-spool", "memcached"])
def kept_port(request: pytest.FixtureRequest, program: Callable[[str], str]) -> Iterator[int]:
    """The port of a server, and then of a memcached, that run on: to start one for each of these short tests takes longer than they do."""
    if request.param == "trio-spool":
        with running("--engine", "memory", "--listen", "tcp://127.0.0.1:0") as process:
            yield process.port
    else:
        with _memcached(program("memcached")) as port:
            yield port


@pytest.fixture
def text_port(kept_port: int) -> int:
    """The port of a server without items, and in a second run of such a memcached."""
    with socket.create_connection(("127.0.0.1", kept_port), timeout=20) as connection:
        connection.sendall(b"flush_all\r\n")
        assert connection.recv(100) == b"OK\r\n"
    return kept_port
