"""The programs of libmemcached, against a server in a process of its own, and against memcached."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Tools:
    """Runs the programs, in a directory of their own, against one server."""

    def __init__(
        self, program: Callable[[str], str], directory: Path, port: int, protocol: tuple[str, ...] = ("--binary",)
    ) -> None:
        self._program = program
        self._directory = directory
        self._server = f"--servers=127.0.0.1:{port}"
        self.protocol = protocol

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [self._program(name), self._server, *arguments]
        return subprocess.run(command, cwd=self._directory, capture_output=True, timeout=60)

    def __call__(self, name: str, *arguments: str) -> tuple[int, bytes]:
        """Return the exit status and the output."""
        done = self.run(name, *self.protocol, *arguments)
        return done.returncode, done.stdout

    def becomes(self, expected: tuple[int, bytes], name: str, *arguments: str) -> bool:
        """Run a program again and again, for ten seconds at most, until it says what is expected."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self(name, *arguments) == expected:
                return True
        return False

    def copy(self, **contents: bytes) -> None:
        """Store files under their names."""
        for name, content in contents.items():
            (self._directory / name).write_bytes(content)
        assert self("memccp", *contents) == (0, b"")


@pytest.fixture(params=[("--binary",), ()], ids=["binary", "text"])
def tools(request: pytest.FixtureRequest, program: Callable[[str], str], tmp_path: Path, port: int) -> Tools:
    return Tools(program, tmp_path, port, request.param)


@pytest.fixture
def protected_tools(program: Callable[[str], str], tmp_path: Path, protected: Any) -> Tools:
    return Tools(program, tmp_path, protected.port)


def test_memccp_and_memccat(tools: Tools) -> None:
    contents = {"text": b"hello\n", "empty": b"", "bytes": b"\0\xff", "large": b"\r\n" * 250_000}
    tools.copy(**contents)
    for name, content in contents.items():
        assert tools("memccat", name) == (0, content + b"\n")
    assert tools("memccat", "text", "bytes") == (0, b"hello\n\n\0\xff\n")
    assert tools("memccat", "none") == (1, b"")
    assert tools("memccat", "none", "bytes") == (1, b"\0\xff\n")


def test_memccp_with_its_options(tools: Tools, tmp_path: Path) -> None:
    tools.copy(old=b"1")
    (tmp_path / "new").write_bytes(b"2")
    assert tools("memccat", "--flags", "old") == (0, b"0\n1\n")
    assert tools("memccp", "--flags", "7", "--expire", "1000", "old") == (0, b"")
    assert tools("memccat", "--flags", "old") == (0, b"7\n1\n")
    assert tools("memccp", "--replace", "old") == (0, b"")
    done = tools.run("memccp", *tools.protocol, "--replace", "new")
    assert (done.returncode, (b"NOT FOUND" if tools.protocol else b"NOT STORED") in done.stderr) == (1, True)
    assert tools("memccp", "--add", "new") == (0, b"")
    done = tools.run("memccp", *tools.protocol, "--add", "new")
    assert (done.returncode, (b"EXISTS" if tools.protocol else b"NOT STORED") in done.stderr) == (1, True)
    assert tools("memccp", "--expire", "1", "old") == (0, b"")
    assert tools.becomes((1, b""), "memccat", "old")


def test_memcexist(tools: Tools) -> None:
    tools.copy(a=b"1", b=b"2")
    assert tools("memcexist", "a", "b") == (0, b"")
    assert tools("memcexist", "none") == (1, b"")
    assert tools("memcexist", "a", "none") == (1, b"")
    assert tools("memccat", "a") == (0, b"1\n")  # asking does not store


def test_memctouch(tools: Tools) -> None:
    tools.copy(a=b"1")
    assert tools("memctouch", "--expire=1000", "a") == (0, b"")
    assert tools("memctouch", "--expire=1000", "none") == (1, b"")
    assert tools("memctouch", "--expire=1", "a") == (0, b"")
    assert tools.becomes((1, b""), "memcexist", "a")


def test_memcrm(tools: Tools) -> None:
    tools.copy(a=b"1", b=b"2")
    assert tools("memcrm", "a") == (0, b"")
    assert tools("memcrm", "a") == (1, b"")
    assert tools("memcrm", "none", "b") == (1, b"")
    assert tools("memcexist", "b") == (1, b"")


def test_memcflush(tools: Tools) -> None:
    tools.copy(a=b"1", b=b"2")
    assert tools("memcflush", "--expire=1000") == (0, b"")
    assert tools("memcexist", "a", "b") == (0, b"")
    assert tools("memcflush") == (0, b"")
    assert tools("memcexist", "a") == (1, b"")
    assert tools("memcexist", "b") == (1, b"")


def test_memcstat(tools: Tools, port: int) -> None:
    tools.copy(a=b"1", b=b"2")
    status, output = tools("memcstat")
    first, *rows = output.decode().splitlines()
    assert (status, first) == (0, f"Server: 127.0.0.1 ({port})")
    found = dict(row.strip().split(": ", 1) for row in rows)
    assert {"pid", "uptime", "time", "version", "bytes", "threads", "evictions"} <= set(found)
    assert (found["curr_items"], found["total_items"], found["cmd_set"]) == ("2", "2", "2")
    status, output = tools("memcstat", "settings")
    assert (status, b"\tcas_enabled: yes\n" in output) == (0, True)
    assert tools("memcstat", "nonsense") == (0 if tools.protocol else 1, b"")
    done = tools.run("memcstat", *tools.protocol, "--server-version")
    assert (done.returncode, done.stderr.decode().split()) == (0, [f"127.0.0.1:{port}", found["version"]])
    status, output = tools("memcstat", "--analyze")
    assert (status, b"Number of Servers Analyzed         : 1\n" in output) == (0, True)
    status, output = tools("memcstat", "--analyze=latency", "--iterations=20")
    assert (status, b"Network Latency Test" in output) == (0, True)


def test_memccapable(program: Callable[[str], str], port: int) -> None:
    command = [program("memccapable"), "-b", "-h", "127.0.0.1", "-p", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    *lines, last = done.stdout.splitlines()
    assert (done.returncode, last) == (0, "All tests passed"), done.stdout + done.stderr
    assert len(lines) == 27
    assert all(line.endswith("[pass]") for line in lines)


@pytest.mark.parametrize("kind", ["get", "set", "mget"])
def test_memcslap(tools: Tools, kind: str) -> None:
    done = tools.run("memcslap", *tools.protocol, f"--test={kind}", "--concurrency=4", "--execute-number=200")
    assert (done.returncode, done.stderr) == (0, b"")


def test_memcaslap(tools: Tools) -> None:
    done = tools.run(
        "memcaslap", *("-B",)[: len(tools.protocol)], "-T", "2", "-c", "8", "-x", "4000", "--verify=1.0", "--division=10"
    )
    found = dict(row.split(": ", 1) for row in done.stdout.decode().splitlines() if row.count(": ") == 1)
    assert done.returncode == 0, done.stderr
    assert (int(found["cmd_get"]) + int(found["cmd_set"]), int(found["get_misses"])) == (4000, 0)
    assert {int(found[name]) for name in ("verify_misses", "verify_failed")} == {0}


def test_with_a_login(protected_tools: Tools, login: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    right = [f"--username={login[0]}", f"--password={login[1]}"]
    for command, expected in {
        "memccp a": b"", "memccat a": b"1\n", "memcexist a": b"", "memctouch --expire=1000 a": b"", "memcrm a": b"",
    }.items():  # fmt: skip
        for wrong in ([], [*right, "--password=wrong"], [*right, "--username=nobody"]):
            assert protected_tools(*command.split(), *wrong) == (1, b""), (command, wrong)
        assert protected_tools(*command.split(), *right) == (0, expected), command
    assert protected_tools("memccp", "a", *right) == (0, b"")
    protected_tools("memcflush")  # it does not look at the answer, and exits with 0
    assert protected_tools("memcflush", *right, "--password=wrong") == (1, b"")
    assert protected_tools("memcexist", "a", *right) == (0, b"")
    assert protected_tools("memcflush", *right) == (0, b"")
    status, output = protected_tools("memcstat", *right)
    assert (status, b"\tcurr_items: 0\n" in output) == (0, True)


def test_memcping(protected_tools: Tools, login: tuple[str, str]) -> None:
    # It has no --binary; with a login it speaks the binary protocol.
    right = [f"--username={login[0]}", f"--password={login[1]}"]
    done = protected_tools.run("memcping", *right)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = protected_tools.run("memcping", *right, "--password=wrong")
    assert (done.returncode, b"AUTHENTICATION FAILURE" in done.stderr) == (1, True)
