"""The example units for systemd: systemd accepts them, they are hardened, and they agree with the server's own settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import attrs
import pytest

from trio_spool.cli._serve import serve
from trio_spool.server import FAILED_STATUS, Settings
from trio_spool.server.settings import BACKLOG

UNITS = Path(__file__).parent.parent / "docs" / "examples" / "systemd"
PROGRAM = "/opt/trio-spool/bin/trio-spool"
# Descriptors of a bucket: two files of LMDB, a lock, and some while it is copied, restored or made. Picked.
PER_BUCKET = 8
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a unit: each has all of its values, in order."""
    found = defaultdict(list)
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, value = line.split("=", 1)
            found[key].append(value)
    return found


SERVICE, SOCKET = unit("trio-spool.service"), unit("trio-spool.socket")


def one(name: str) -> str:
    (value,) = SERVICE[name]
    return value


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """The settings of the server that the unit starts, with the example of a configuration file."""
    words = one("ExecStart").replace("%E/trio-spool", str(UNITS)).replace("%S", "/var/lib").split()
    assert words[:2] == [PROGRAM, "serve"]
    parameters = serve.make_context("serve", words[2:]).params
    return Settings(**{name: value for name, value in parameters.items() if name in attrs.fields_dict(Settings)})


def test_the_server_takes_the_options_and_the_file(settings: Settings) -> None:
    assert settings.data_dir == Path("/var/lib/trio-spool")
    assert one("StateDirectory") == "trio-spool"
    assert settings.listen == tuple(f"tcp://{address}" for address in SOCKET["ListenStream"])


def test_limits_agree_with_the_settings(settings: Settings) -> None:
    assert int(one("LimitNOFILE")) >= settings.max_connections + PER_BUCKET * settings.max_buckets + 100
    assert int(one("TimeoutStopSec")) > 2 * settings.drain_timeout
    assert SOCKET["Backlog"] == [str(BACKLOG)]


def test_what_starts_it_again() -> None:
    prevented = one("RestartPreventExitStatus").split()
    assert one("Restart") == "on-failure"
    assert str(FAILED_STATUS) not in prevented
    usage = subprocess.run([sys.executable, "-m", "trio_spool", "serve", "--nonsense"], stderr=subprocess.DEVNULL, timeout=60)
    assert prevented == [str(usage.returncode)]


def test_the_boot_has_a_name() -> None:
    """With ProcSubset=pid, every start would be taken for one in the same boot, and a power loss with everysec not be seen."""
    assert "ProcSubset" not in SERVICE


def test_a_name_of_a_socket_that_has_tls() -> None:
    assert SOCKET["FileDescriptorName"] == ["kv"]
    text = (UNITS / "trio-spool.socket").read_text(encoding="utf-8")
    assert "tls, or tls-ANYTHING" in text


@pytest.fixture
def installed(tmp_path) -> Path:
    """The units, as they would be where the program is: `verify` looks whether there is one."""
    for path in UNITS.glob("trio-spool.*"):
        text = path.read_text(encoding="utf-8").replace(PROGRAM, shutil.which("true"))
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return tmp_path


@systemd
def test_systemd_accepts_the_units(installed: Path) -> None:
    for name in ("trio-spool.service", "trio-spool.socket"):
        run = subprocess.run(["systemd-analyze", "verify", installed / name], capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stdout + run.stderr) == (0, "")


@systemd
def test_systemd_finds_little_exposed(installed: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=15", installed / "trio-spool.service"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    (level,) = re.findall(r"exposure level for trio-spool\.service: ([\d.]+)", run.stdout)
    assert float(level) <= 1.5


@systemd
def test_verify_finds_mistakes(installed: Path) -> None:
    path = installed / "trio-spool.service"
    path.write_text(path.read_text().replace("ProtectSystem=", "ProtectSistem="))
    run = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
    assert "ProtectSistem" in run.stderr
