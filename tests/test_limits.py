"""A test that hangs fails, and the others run: pytest is run on tests that hang in every way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CONFIGURATION = """
[pytest]
trio_mode = true
timeout = 0.5
timeout_grace = 1
timeout_method = signal
filterwarnings = error
"""

CONFTEST = 'pytest_plugins = ["support.limits"]'

HANGING = """
import ctypes, gc, threading
import pytest, trio

async def test_tasks():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()

async def test_busy_loop():
    while True:
        await trio.lowlevel.checkpoint()

async def test_blocked_loop():
    threading.Event().wait()

async def test_thread_of_the_loop():
    await trio.to_thread.run_sync(threading.Event().wait)

def test_thread():
    threading.Thread(target=threading.Event().wait).run()

def test_c_code():
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)

@pytest.fixture
def hangs_at_its_end():
    yield
    threading.Event().wait()

def test_end(hangs_at_its_end):
    pass

def test_end_after_failure(hangs_at_its_end):
    assert False

def test_nothing():
    gc.collect()

async def test_nothing_in_a_loop():
    gc.collect()
"""


def outcomes(directory: Path, content: str, *options: str) -> tuple[dict[str, set[str]], str]:
    """Run pytest, and return what it said of each test, and all that it printed."""
    (directory / "pytest.ini").write_text(CONFIGURATION)
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_hanging.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-rA", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found: dict[str, set[str]] = {}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) test_hanging\.py::(\w+)", run.stdout, re.MULTILINE):
        found.setdefault(name, set()).add(outcome)
    return found, run.stdout


def test_each_hanging_test_fails_and_the_others_pass(tmp_path: Path) -> None:
    found, output = outcomes(tmp_path, HANGING, "-n", "2")
    assert found == {
        "test_tasks": {"FAILED"},
        "test_busy_loop": {"FAILED"},
        "test_blocked_loop": {"FAILED"},
        "test_thread_of_the_loop": {"FAILED"},
        "test_thread": {"FAILED"},
        "test_c_code": {"FAILED"},
        "test_end": {"PASSED", "ERROR"},
        "test_end_after_failure": {"FAILED", "ERROR"},
        "test_nothing": {"PASSED"},
        "test_nothing_in_a_loop": {"PASSED"},
    }
    assert "crashed while running 'test_hanging.py::test_c_code'" in output
    assert "--- task trio.sleep_forever" in output


@pytest.mark.parametrize("body", ["lock(mutex)", "threading.Thread(target=threading.Event().wait).start()"])
def test_a_hang_that_no_exception_ends_ends_the_process(tmp_path: Path, body: str) -> None:
    setup = "import ctypes, threading\nlock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)\nlock(mutex)\n"
    _, output = outcomes(tmp_path, f"{setup}def test_it():\n    {body}\n", "-p", "no:xdist")
    assert re.search(r"Timeout \(0:00:01.*\)!\n(?:Current t|T)hread ", output)
