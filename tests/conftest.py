"""What all tests share: Hypothesis profiles, a server in a process of its own, and one in the test's event loop."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from support import service as services
from support.certificates import Authority
from support.clocks import Clock
from support.process import Process, running
from support.service import Raw, Served
from trio_spool.testing import Server, running_server

pytest_plugins = ["support.limits"]

settings.register_profile("default", deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))
settings.register_profile("fuzz", deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure() -> None:
    """Take interrupts if they are ignored, as they are below nohup: the processes that tests interrupt would ignore them, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_is_as_it_was() -> Iterator[None]:
    """Undo what a command that ran in this process has configured."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def memory_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is one: for what asks a disk hundreds of times to sync."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="trio-spool-test-", dir=memory) as path:
        yield Path(path)


@pytest.fixture
def clock() -> Clock:
    """A clock that a test sets."""
    return Clock()


@pytest.fixture
def start() -> Callable[..., AbstractContextManager[Process]]:
    """Start a server in a process of its own, with the arguments that a test wants."""
    return running


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in a thread of this process, in memory. It takes a hundredth of the time that a process takes to start."""
    with running_server(thread=True) as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates."""
    return Authority(tmp_path_factory.mktemp("certificates"))


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
