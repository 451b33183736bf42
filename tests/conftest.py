"""What all tests share: Hypothesis profiles, a server in a process of its own, and one in the test's event loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from support import service as services
from support.service import Raw, Served

pytest_plugins = ["support.limits"]

settings.register_profile("default", deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))
settings.register_profile("fuzz", deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def logging_is_as_it_was() -> Iterator[None]:
    """Undo what a command that ran in this process has configured."""
    yield
    structlog.reset_defaults()


class Process:
    """``trio-spool serve``, as a user starts it."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, listeners: int = 1) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "trio_spool", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.addresses = [self._address() for _ in range(listeners)]
        self.port = int(self.addresses[0].rsplit(":", 1)[1]) if self.addresses[0].startswith("tcp") else 0

    def _address(self) -> str:
        line = self.popen.stdout.readline()
        assert line.startswith("listening on "), line + self.popen.stderr.read()
        return line.split()[2]

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit status and what was logged."""
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=100)
        return self.popen.returncode, errors


@contextmanager
def running(*arguments: str, env: dict[str, str] | None = None, listeners: int = 1) -> Iterator[Process]:
    process = Process(*arguments, env=env, listeners=listeners)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.stop()
        process.popen.stdout.close()
        process.popen.stderr.close()


@pytest.fixture
def start() -> Callable[..., object]:
    return running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    with running(str(tmp_path / "data"), "--listen", "tcp://127.0.0.1:0", "--fsync", "no") as process:
        yield process


@pytest.fixture
def run_service() -> Callable[..., Any]:
    """Run a service in the test's event loop, with the settings that a test wants."""
    return services.run_service


@pytest.fixture
async def service() -> AsyncIterator[Served]:
    """A service in the test's event loop, in memory."""
    async with services.run_service(max_item_size=100_000, drain_timeout=1) as served:
        yield served


@pytest.fixture
async def raw(service: Served) -> AsyncIterator[Raw]:
    """A connection to that service."""
    async with service.connect() as connection:
        yield connection


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for what other tasks and threads bring about."""
    return services.wait_until
