"""``trio-spool serve`` as a process: its log, the lines on standard output, and why it ends."""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from collections.abc import Callable

import click
import structlog
import trio

from ..server import Settings, serve_until_signal
from ..server.supervision import Supervisor
from ._logging import Log, logging_to_stderr

# Reads the settings, and how the log is to look.
Read = Callable[[], "tuple[Settings, str]"]


def run_server(settings: Settings, log_format: str, reread: Read, supervisor: Supervisor) -> None:
    """Run a server until a signal ends it or it fails.

    Args:
        settings: What to run.
        log_format: How the log looks, one of `_logging.FORMATS`.
        reread: Reads both again, for SIGHUP. Called in a worker thread.
        supervisor: Is told about the server.

    Raises:
        Exception: As `serve_until_signal` does.
    """
    _show_stacks_of_a_crash()
    with logging_to_stderr(settings.log_level, log_format) as log:
        process = _Process(log, log_format, reread)
        try:
            trio.run(
                serve_until_signal, settings, process.listening, process.stopping, process.reread, process.changed, supervisor
            )  # fmt: skip
        except BaseException as exc:
            process.reason = process.reason or str(exc) or type(exc).__name__
            process.stopped(failed=isinstance(exc, Exception))
            raise
        process.stopped(failed=False)


def _show_stacks_of_a_crash() -> None:
    """Have Python print the stack of each thread to standard error when SIGABRT or a fault in native code ends the process.

    A supervisor sends SIGABRT to a server that does not feed its watchdog: the stacks say what hangs. They hold no data.
    """
    if sys.__stderr__ is not None and not faulthandler.is_enabled():  # without one, its descriptor may be that of any file
        faulthandler.enable(sys.__stderr__)


class _Process:
    """What the process does when the service tells it something."""

    def __init__(self, log: Log, log_format: str, reread: Read) -> None:
        self._log = log
        self._format = log_format
        self._reread = reread
        self._lines = structlog.get_logger("trio_spool")
        self._began: float | None = None
        self.reason = ""

    def listening(self, addresses: list[str]) -> None:
        for address in addresses:
            click.echo(f"listening on {address}")
        sys.stdout.flush()
        self._began = time.monotonic()

    def stopping(self, number: int) -> None:
        self.reason = signal.Signals(number).name
        self._lines.info("stopping", signal=self.reason)

    def reread(self) -> Settings:
        settings, self._format = self._reread()
        return settings

    def changed(self, settings: Settings) -> None:
        self._log.change(settings.log_level, self._format)

    def stopped(self, *, failed: bool) -> None:
        if self._began is not None:  # else it has not begun, and one line says why
            write = self._lines.error if failed else self._lines.info
            write("stopped", reason=self.reason, seconds=round(time.monotonic() - self._began, 3))
