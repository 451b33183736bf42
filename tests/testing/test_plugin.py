"""pytest's plugin, as those who install the package get it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from trio_spool.client import NotFoundError, open_client
from trio_spool.testing import Server

ROOT = Path(__file__).parent.parent.parent


def test_it_is_registered() -> None:
    (entry,) = [entry for entry in entry_points(group="pytest11") if entry.name == "trio_spool"]
    assert entry.value == "trio_spool.testing.plugin"


@pytest.mark.parametrize("times", range(2))
async def test_each_test_has_an_empty_server(trio_spool_server: Server, times: int) -> None:
    async with open_client(trio_spool_server.host, trio_spool_server.port) as client:
        with pytest.raises(NotFoundError):
            await client.get(b"key")
        await client.set(b"key", b"value")


def test_the_example() -> None:
    pytest.importorskip("couchbase")
    output = run_pytest(ROOT / "docs" / "examples" / "test_with_couchbase.py", ROOT)
    assert "3 passed" in output, output


def test_what_goes_wrong_is_said_by_the_test(tmp_path: Path) -> None:
    """A process that dies is an error of the test that used it, and of no other; a log is shown below the test that failed."""
    (tmp_path / "test_it.py").write_text(
        "import os, signal, socket\n"
        "from trio_spool.testing._process import current_host\n"
        "\n"
        "def test_before(trio_spool_server):\n"
        "    refuse(trio_spool_server, 'first')\n"
        "\n"
        "def test_during(trio_spool_server):\n"
        "    os.kill(current_host().pid, signal.SIGKILL)\n"
        "\n"
        "def test_fails(trio_spool_server):\n"
        "    refuse(trio_spool_server, 'second')\n"
        "    assert False\n"
        "\n"
        "def refuse(server, message):\n"
        "    with socket.create_connection((server.host, server.port)) as connection:\n"
        "        body = b'PLAIN' + message.encode()  # no login\n"
        "        connection.sendall(bytes([0x80, 0x21, 0, 5, 0, 0, 0, 0, 0, 0, 0, len(body)]) + bytes(12) + body)\n"
        "        connection.recv(24)\n"
    )
    output = run_pytest(tmp_path / "test_it.py", tmp_path)
    assert "1 failed, 2 passed, 1 error" in output, output
    assert "ERROR at teardown of test_during" in output
    assert "was killed by SIGKILL while the server was in use" in output
    log = output.partition("Captured stderr teardown")[2]
    assert log.count("login refused") == 1, output


def test_each_worker_of_xdist_has_its_own_process(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from pathlib import Path\n"
        "from trio_spool.testing._process import current_host\n"
        "\n"
        "@pytest.mark.parametrize('number', range(2))\n"
        "def test_it(trio_spool_server, worker_id, number):\n"
        "    with open(Path(__file__).with_name('pids'), 'a') as out:\n"
        "        print(worker_id, current_host().pid, file=out)\n"
    )
    output = run_pytest(tmp_path / "test_it.py", tmp_path, "-n", "2", "--dist", "each")
    assert "4 passed" in output, output
    pairs = {tuple(line.split()) for line in (tmp_path / "pids").read_text().splitlines()}
    assert {worker for worker, _ in pairs} == {"gw0", "gw1"}
    assert len({pid for _, pid in pairs}) == len(pairs) == 2
    wait_for_end({int(pid) for _, pid in pairs})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_pytest_is_ended(tmp_path: Path, number: int) -> None:
    """The process is neither told of the interrupt, since tests may clean up with it, nor left behind."""
    (tmp_path / "test_it.py").write_text(
        "import socket, sys, time\n"
        "from trio_spool.testing._process import current_host\n"
        "\n"
        "def test_it(trio_spool_server):\n"
        "    try:\n"
        "        print('pid', current_host().pid, file=sys.__stderr__, flush=True)\n"
        "        while True:\n"
        "            time.sleep(0.01)\n"
        "    finally:\n"
        "        socket.create_connection((trio_spool_server.host, trio_spool_server.port)).close()\n"
        "        print('cleaned up', file=sys.__stderr__, flush=True)\n"
    )
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-W", "error", str(tmp_path / "test_it.py")]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # fmt: skip
        line = process.stderr.readline()
        assert line.startswith("pid "), line + process.stderr.read()
        os.killpg(process.pid, number)  # as the terminal does it
        output, errors = process.communicate(timeout=60)
    assert ("cleaned up" in errors) == (number == signal.SIGINT), output + errors
    assert process.returncode == (2 if number == signal.SIGINT else -number)
    wait_for_end({int(line.split()[1])})


def wait_for_end(pids: set[int]) -> None:
    """Wait until there are no such processes. They are not ours, so somebody else takes their status."""
    end = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def run_pytest(file: Path, directory: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options, str(file)]
    return subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100).stdout
