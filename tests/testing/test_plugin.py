"""pytest's plugin, as those who install the package get it."""

from __future__ import annotations

import subprocess
import sys
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
    assert "2 passed" in output, output


def test_a_server_that_fails_is_an_error_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from trio_spool.testing import _thread\n"
        "\n"
        "async def serve(settings, *, task_status, stop):\n"
        "    task_status.started(['tcp://127.0.0.1:1'])\n"
        "    await stop.wait()\n"
        "    raise OSError('it broke')\n"
        "\n"
        "def test_it(trio_spool_server):\n"
        "    pass\n"
        "\n"
        "_thread.serve = serve\n"  # another process, with a server of the plugin's own: there is no seam
    )
    output = run_pytest(tmp_path / "test_it.py", tmp_path)
    assert "1 passed, 1 error" in output, output
    assert "ERROR at teardown of test_it" in output
    assert "raise OSError('it broke')" in output


def run_pytest(file: Path, directory: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(file)]
    return subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100).stdout
