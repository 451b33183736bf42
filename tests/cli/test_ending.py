"""How commands end when nobody reads what they print, and when they are interrupted."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from support.commands import run
from support.process import command
from support.users import user, write_users
from trio_spool.auth import Role
from trio_spool.testing import running_server

# Bytes that may stay unused in a pipe that is full.
LEFT_OVER = 2048
# One that `filled` has.
KEY = f"key{0:0200}"


@pytest.fixture(scope="module")
def filled() -> Iterator[str]:
    """A server with more than fits in a pipe."""
    documents = "".join(json.dumps({"key": f"key{n:0200}", "value": "v"}) + "\n" for n in range(2000))
    with running_server() as server:
        run("load", server.address, "-", input=documents)
        yield server.address


def wait_until_full(pipe: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until nothing more fits: a short line is not split, and so leaves some bytes of each page unused."""
    room = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else 65536
    waiting = array.array("i", [0])
    while waiting[0] < room - LEFT_OVER:
        assert process.poll() is None
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)


@pytest.mark.parametrize("arguments", [("scan",), ("dump",), ("dump", "-"), ("stat", "keys")])
def test_an_interrupt_ends_what_waits_for_its_reader(filled: str, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    with subprocess.Popen(command(name, filled, *rest), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        wait_until_full(process.stdout.fileno(), process)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(100) == 130
        finally:
            process.kill()
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.access("/proc/self/wchan", os.R_OK), reason="only Linux says what a process waits for")
def test_an_interrupt_ends_short_lines_that_wait_for_their_reader(tmp_path) -> None:
    """Each line is written at once, and the next one waits for room in the pipe."""
    ann = user("ann", Role.READ)
    users = write_users(tmp_path / "users.json", *(attrs.evolve(ann, name=f"user{n:040}") for n in range(1500)))
    with subprocess.Popen(command("user", "list", "--json", "--users", users), stdout=subprocess.PIPE) as process:
        while "pipe_write" not in waits_in(process):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(100) == 130
        finally:
            process.kill()


def waits_in(process: subprocess.Popen[bytes]) -> str:
    """Return the function of the kernel that the process waits in."""
    return Path(f"/proc/{process.pid}/wchan").read_text()


def test_an_interrupt_ends_a_dump_into_a_fifo(filled: str, tmp_path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(command("dump", filled, str(fifo)), stderr=subprocess.PIPE) as process:
        with fifo.open("rb", buffering=0) as reader:
            wait_until_full(reader.fileno(), process)
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(100) == 130
            finally:
                process.kill()
    assert fifo.is_fifo()


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", KEY),
        ("get", KEY, "--json"),
        ("get", KEY, "--raw"),
        ("stat",),
        ("stat", "keys"),
        ("bucket list",),
        ("collection list",),
        ("scan",),
        ("dump",),
        ("dump", "-"),
        ("scan --help",),
    ],
    ids=lambda arguments: " ".join(arguments).replace(KEY, "KEY"),
)
def test_a_reader_that_is_gone_at_once(filled: str, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command(*name.split(), filled, *rest), stdout=writing, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_server_that_can_not_say_where_it_listens() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        arguments = command("serve", "--engine", "memory", "--listen", "tcp://127.0.0.1:0")
        done = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(b"Error: nobody reads standard output")
    assert b"Traceback" not in done.stderr
