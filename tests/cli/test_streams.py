"""Standard output and standard error that are full or closed: a command says so in one line, and a server goes on."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import one_line, run
from support.hostile import playing
from support.process import command
from trio_spool.cli._errors import OutputError
from trio_spool.cli._streams import StandardOutput
from trio_spool.testing import running_server

FULL = "/dev/full"
pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason="only Linux has a device that is always full")
COMMANDS = [
    "get HERE key", "get HERE key --json", "get HERE key --raw", "set HERE key value", "scan HERE", "scan HERE --format csv", "dump HERE",
    "stat HERE", "stat HERE --json", "bucket list HERE", "collection list HERE", "load HERE /dev/null", "--version", "--help",
    "scan --help", "serve --engine memory --listen tcp://127.0.0.1:0 --log-level warning",
]  # fmt: skip


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    with running_server() as server:
        run("set", server.address, "key", "value")
        yield server.address


def redirected(words: str, redirection: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with a redirection of the shell."""
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", *command(*words.split())]
    return subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=100)


@pytest.mark.parametrize("words", COMMANDS)
def test_output_that_is_full(here: str, words: str) -> None:
    done = redirected(words.replace("HERE", here), f"> {FULL}")
    assert done.stderr == b"Error: can't write to standard output: no space left on device; redirect it to somewhere else\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", [COMMANDS[0], COMMANDS[4], COMMANDS[7], COMMANDS[-3], COMMANDS[-1]])
def test_output_that_is_closed(here: str, words: str) -> None:
    done = redirected(words.replace("HERE", here), ">&-")
    assert done.stderr == b"Error: standard output is closed; redirect it, for example to /dev/null\n"
    assert done.returncode == 1
    assert redirected(words.replace("HERE", here), "<&- >&- 2>&-").returncode == 1


@pytest.mark.parametrize("redirection", ["2>&-", f"2> {FULL}"])
def test_errors_that_nobody_can_read(here: str, redirection: str) -> None:
    done = redirected(f"get {here} key --raw", redirection)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"value", b"")
    done = redirected(f"get {here} none", redirection)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert redirected("get", redirection).returncode == 2


def test_a_command_that_prints_nothing_needs_no_output(here: str, tmp_path: Path) -> None:
    file = tmp_path / "dumped"
    assert redirected(f"dump {here} {file}", ">&-").stderr == b"dumped 1 documents\n"
    assert b'"key": "key", "value": "value"' in file.read_bytes()


@pytest.mark.parametrize("redirection", ["2>&-", f"2> {FULL}"])
def test_a_server_whose_log_goes_nowhere(redirection: str, tmp_path: Path) -> None:
    words = f"serve {tmp_path / 'data'} --listen tcp://127.0.0.1:0 --verbose"
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command(*words.split())]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split("//")[1].strip()
            run("set", address, "key", "value")
            with pytest.raises(AssertionError):
                run("get", address, "none")
            # No file of the server has got the place of a stream, where whatever is printed would go into it.
            streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
            assert not any("data" in stream for stream in streams)
            process.send_signal(signal.SIGTERM)
            assert process.wait(100) == 0
        finally:
            process.kill()


def test_output_that_somebody_made_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    script = "import sys; from trio_spool.cli import _streams; _streams.take_over(); sys.stdout.write('x' * 1_000_000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        with open(reading, "rb") as source:
            assert source.read() == b"x" * 1_000_000
        assert process.stderr.read() == b""


def test_only_the_first_error_is_raised() -> None:
    """Python flushes again at exit what could not be written."""
    raw = StandardOutput(closed_from_start=True)
    buffered = io.BufferedWriter(raw)
    buffered.write(b"x")
    with pytest.raises(OutputError, match="standard output is closed"):
        buffered.flush()
    assert raw.dropping
    buffered.flush()
    assert raw.write(memoryview(b"abc")) == 3


# What is read


def test_files_without_an_end(tmp_path: Path) -> None:
    zeros = "/dev/zero"
    with playing({}) as here:
        assert "the value has more than 31457280 bytes" in one_line("set", here, "key", "--file", zeros)
        assert "can't read /proc/self/mem: input/output error" in one_line("set", here, "key", "--file", "/proc/self/mem")
    assert "it has more than 1048576 bytes" in run("serve", "--config", zeros, status=2)
    assert "it has more than 67108864 bytes" in one_line("user", "list", "--users", zeros)
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "backup.json").symlink_to(zeros)
    for arguments in (("verify", backup), ("restore", backup, tmp_path / "restored"), ("backup", "127.0.0.1:1", backup)):
        assert "backup.json: it is a symbolic link" in one_line(*arguments) or "has a complete backup" in one_line(*arguments)
    (backup / "backup.json").unlink()
    os.mkfifo(backup / "backup.json")
    assert "backup.json: it is not a regular file" in one_line("verify", backup)
