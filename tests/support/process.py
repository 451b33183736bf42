"""``trio-spool serve`` in a process of its own: for what is said of processes, signals and files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def command(*arguments: str | bytes | os.PathLike[str]) -> list[str]:
    """Return the words that run ``trio-spool`` as a user starts it."""
    return [sys.executable, "-m", "trio_spool", *map(os.fsdecode, arguments)]


# What tests read of a log that is not itself what they are about: what somebody has to look at, in a form for people.
QUIET = {"TRIO_SPOOL_LOG_LEVEL": "warning", "TRIO_SPOOL_LOG_FORMAT": "text"}


class Process:
    """``trio-spool serve``, as a user starts it, with a log of warnings unless the variables in `env` say otherwise."""

    def __init__(
        self, *arguments: str, env: dict[str, str] | None = None, listeners: int = 1, stderr: Any = subprocess.PIPE
    ) -> None:
        self.popen = subprocess.Popen(
            command("serve", *arguments),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **QUIET, **(env or {})},
        )
        self.addresses = [self._read_address() for _ in range(listeners)]
        self.port = int(self.addresses[0].rsplit(":", 1)[1]) if self.addresses[0].startswith("tcp") else 0

    def _read_address(self) -> str:
        line = self.popen.stdout.readline()
        assert line.startswith("listening on "), line + self.popen.stderr.read()
        return line.split()[2]

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit status and what was logged."""
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=100)
        return self.popen.returncode, errors


@contextmanager
def running(*arguments: str, env: dict[str, str] | None = None, listeners: int = 1) -> Iterator[Process]:
    """Run a server until the block ends."""
    process = Process(*arguments, env=env, listeners=listeners)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.stop()
        process.popen.stdout.close()
        process.popen.stderr.close()
