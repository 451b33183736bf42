"""What SIGHUP changes: the settings that can change, for what goes on and for what comes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from support.service import Raw
from trio_spool.mcbp import Opcode, Status
from trio_spool.server import Service, Settings, SettingsError
from trio_spool.server.settings import LIVE
from trio_spool.server.shared import Tuning

BEFORE: dict[str, Any] = {"listen": ("tcp://127.0.0.1:0",), "engine": "memory", "max_connections": 100, "max_item_size": 10_000}


@pytest.fixture
async def changing():
    """A service, and the settings that it reads when it is told to."""
    wanted: list[Settings | Exception] = []

    def reread() -> Settings:
        if isinstance(wanted[-1], Exception):
            raise wanted[-1]
        return wanted[-1]

    service, stop = Service(Settings(**BEFORE), tuning=Tuning(farewell=0.2), reread=reread), trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            await service.run(task_status=task_status, stop=stop)

        (address,) = await nursery.start(run)
        yield service, wanted, int(address.rpartition(":")[2])
        stop.set()


async def test_limits_change_while_it_runs(changing) -> None:
    service, wanted, port = changing
    shared = service.shared
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        raw = Raw(stream)
        assert (await raw.call(Opcode.NOOP)).status == 0
        wanted.append(Settings(**BEFORE | {"max_connections": 1, "workers": 3, "max_buffered": 5_000_000, "max_buckets": 1}))
        with structlog.testing.capture_logs() as logs:
            await service.reload()
        assert [entry["event"] for entry in logs] == ["settings reloaded"]
        assert logs[0]["changed"] == {"max_buckets": 1, "max_buffered": 5_000_000, "max_connections": 1, "workers": 3}
        async with await trio.open_tcp_stream("127.0.0.1", port) as other:
            assert (await Raw(other).call(Opcode.NOOP)).status == Status.TEMPORARY_FAILURE
        assert shared.limiter.total_tokens == 3
        shown = await raw.stat(b"settings")
        assert (shown[b"maxconns"], shown[b"workers"], shown[b"max_buffered"]) == (b"1", b"3", b"5000000")
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"other")).status != 0


async def test_what_needs_a_restart_is_named(changing) -> None:
    service, wanted, _ = changing
    wanted.append(Settings(**BEFORE | {"vbuckets": 7, "max_scans": 5, "idle_timeout": 7.0}))
    with structlog.testing.capture_logs() as logs:
        await service.reload()
    assert logs[0]["changed"] == {"idle_timeout": 7.0}
    assert logs[1]["options"] == "--vbuckets --max-scans"
    assert service.shared.settings == Settings(**BEFORE | {"idle_timeout": 7.0})


async def test_what_can_not_be_used_changes_nothing(changing) -> None:
    service, wanted, _ = changing
    for wrong in (SettingsError("the file has a hole"), SettingsError("another one")):
        wanted.append(wrong)
        with structlog.testing.capture_logs() as logs:
            await service.reload()
        assert [(entry["event"], entry["reason"]) for entry in logs] == [("the settings stay as they were", str(wrong))]
    assert service.shared.settings == Settings(**BEFORE)


async def test_a_file_that_does_not_answer_keeps_nobody_from_ending() -> None:
    reading, answering = threading.Event(), threading.Event()

    def reread() -> Settings:
        reading.set()
        answering.wait(60)
        return Settings(**BEFORE)

    service, stop = Service(Settings(**BEFORE), reread=reread), trio.Event()
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: service.run(task_status=task_status, stop=stop))
                nursery.start_soon(service.reload)
                await trio.to_thread.run_sync(reading.wait)
                nursery.cancel_scope.cancel()
        assert not answering.is_set()
    finally:
        answering.set()


async def test_nothing_has_changed(changing) -> None:
    service, wanted, _ = changing
    wanted.append(Settings(**BEFORE))
    with structlog.testing.capture_logs() as logs:
        await service.reload()
    assert [(entry["event"], entry["changed"]) for entry in logs] == [("settings reloaded", "nothing")]


async def test_every_setting_that_can_change_can_be_changed(changing) -> None:
    service, wanted, _ = changing
    others: dict[str, Any] = {}
    for name in LIVE - {"log_level", "max_size", "evict"}:
        value = getattr(service.shared.settings, name)
        others[name] = not value if isinstance(value, bool) else value / 2 if isinstance(value, float) else value + 1
    others |= {"log_level": "info", "slow_log": 1.0, "max_size": 1 << 30, "evict": "none"}
    wanted.append(Settings(**BEFORE | others))
    with structlog.testing.capture_logs() as logs:
        await service.reload()
    assert set(logs[0]["changed"]) == set(LIVE)
    assert service.shared.settings == wanted[-1]


def test_the_documentation_names_what_needs_a_restart() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "service.rst").read_text(encoding="utf-8")
    _, _, rest = page.partition("These options need a restart:")
    named = rest.partition(". All others")[0]
    options = {field.name for field in attrs.fields(Settings)} - {"data_dir"}
    assert {name for name in options if f"``{name.replace('_', '-')}``" in named} == options - LIVE


def test_the_documentation_has_every_limit() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "service.rst").read_text(encoding="utf-8")
    table = page.partition(".. _limits:")[2].partition(".. _memory:")[0]
    for name in LIVE - {
        "max_item_size",
        "max_buckets",
        "disable_flush",
        "window",
        "batch",
        "look_ahead",
        "workers",
        "log_level",
        "slow_log",
        "hide_keys",
    }:
        if name not in ("snapshot_idle", "drain_timeout"):
            assert f"--{name.replace('_', '-')}" in table, name


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_the_configuration_file_is_read_again(start, tmp_path: Path) -> None:
    config = tmp_path / "spool.toml"
    config.write_text("max-connections = 5\nmax-scans = 3\n")
    with start("--config", str(config), "--engine", "memory", "--listen", "tcp://127.0.0.1:0", "--workers", "2") as process:
        said = []
        for content in ("max-connections = 6\nmax-scans = 4\nworkers = 9\n", "max-connections = none", "max-connections = 0\n"):
            config.write_text(content)
            os.kill(process.popen.pid, signal.SIGHUP)
            said.append(process.popen.stderr.readline())
            if len(said) == 1:
                said.append(process.popen.stderr.readline())
        config.unlink()
        config.symlink_to(os.devnull)  # like a pipe that was read to its end: it says nothing, and would set everything back
        os.kill(process.popen.pid, signal.SIGHUP)
        said.append(process.popen.stderr.readline())
        status, rest = process.stop()
    assert status == 0
    assert "settings reloaded" in said[0]
    assert '"max_connections": 6' in said[0]
    assert "workers" not in said[0]  # the command line says otherwise
    assert "--max-scans" in said[1]
    assert "is not valid TOML" in said[2]
    assert "max-connections must be from 1" in said[3]
    assert "is not a regular file, so it can't be read again" in said[4]
    assert "Traceback" not in "".join(said) + rest
