"""Ctrl-C at moments that are hard to hit: while Python imports, at a question, at the end. The status is 130, and nothing is printed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import run
from support.process import command

# Runs the program, and interrupts it when it imports a module, in a place where Python prints an exception and goes on: so it is with
# the locks of its import system.
WHILE_IMPORTING = """
import importlib.abc, importlib.machinery, os, runpy, signal, sys

name = sys.argv.pop(1)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, wanted, path, target=None):
        if wanted == name:
            print("interrupted", flush=True)
            Interrupting()
        return None

class Interrupting:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass

sys.meta_path.insert(0, Finder())
sys.argv[0] = "trio-spool"
runpy.run_module("trio_spool", run_name="__main__")
"""
AT_EXIT = """
import atexit, os, runpy, signal, sys

def interrupt():
    print("interrupted", flush=True)
    os.kill(os.getpid(), signal.SIGINT)

atexit.register(interrupt)
sys.argv[0] = "trio-spool"
runpy.run_module("trio_spool", run_name="__main__")
"""
NOWHERE = "127.0.0.1:1"


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("click", "--help"),
        ("trio_spool.cli._commands", "--version"),
        ("trio_spool.cli._get", f"get {NOWHERE} key"),
        ("trio", f"stat {NOWHERE}"),
        ("ssl", f"scan {NOWHERE}"),
        ("trio_spool.client._silence", f"bucket list {NOWHERE}"),
        ("rich.progress", f"backup {NOWHERE} /dev/null/none"),
        ("trio_spool.engine", "verify /nowhere"),
        ("structlog", "serve --engine memory --listen tcp://127.0.0.1:0"),
    ],
)
def test_while_a_module_is_imported(module: str, words: str) -> None:
    done = run_script(WHILE_IMPORTING, module, *words.split())
    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted\n", "")


def test_at_the_end() -> None:
    done = run_script(AT_EXIT, "--version")
    assert done.stdout.endswith("interrupted\n")
    assert (done.returncode, done.stderr) == (130, "")


def test_it_stays_ignored() -> None:
    """So it is in the background of a script, and under nohup."""
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", AT_EXIT, "--version"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=100)
    assert done.stdout.endswith("interrupted\n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("typed", "status"), [(b"\x03", 130), (b"\x04", 1)])
def test_at_the_question_for_a_password(typed: bytes, status: int, tmp_path: Path) -> None:
    """Ctrl-C, and Ctrl-D, which is no password."""
    terminal, other = pty.openpty()
    words = command("user", "add", "ann", "--users", tmp_path / "users.json")
    with subprocess.Popen(
        words, stdin=other, stdout=other, stderr=other, start_new_session=True, preexec_fn=take_terminal
    ) as process:
        os.close(other)
        try:
            output = b""
            while b"Password: " not in output:
                output += os.read(terminal, 1000)
            os.write(terminal, typed)
            assert process.wait(100) == status
            rest = os.read(terminal, 1000)
        finally:
            process.kill()
            os.close(terminal)
    assert b"Traceback" not in rest and b"Aborted" not in rest
    assert (b"Error: no password was given" in rest) is (status == 1)


def take_terminal() -> None:
    """Make the terminal on standard input the one that sends signals."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_the_commands_leave_the_handler_of_another_program_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    run("--version")
    assert signal.getsignal(signal.SIGINT) is before
