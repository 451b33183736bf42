"""A service as a process: the signals that stop it and make it read its users again."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
import trio

from .._core import raise_the_one
from ..engine import EngineFailedError
from ._reloading import Reread
from ._service import Service
from .settings import Settings
from .supervision import Supervisor

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

#: The exit status of a process whose storage has failed: EX_IOERR of sysexits.h.
FAILED_STATUS: Final = 74
# Seconds for which a process whose storage has failed may take to end properly. Picked, not measured: threads that wait for a disk
# that does not answer can't be stopped, and a process that stays would keep its supervisor from starting another.
FAILED_PATIENCE: Final = 30.0
# Seconds for which a process may take to end properly after a second signal. Picked, not measured: whoever sends one wants the end,
# and all that was acknowledged is safe from the end of a process anyway.
SIGNAL_PATIENCE: Final = 3.0
# Seconds for which the last line of such a process may take to be written. Picked, not measured.
LINE_PATIENCE: Final = 1.0


async def serve_until_signal(
    settings: Settings,
    listening: Callable[[list[str]], None],
    stopping: Callable[[int], None],
    reread: Reread | None = None,
    changed: Callable[[Settings], object] = lambda settings: None,
    supervisor: Supervisor | None = None,
) -> None:
    """Run a service until SIGTERM or SIGINT, which let running answers finish, or until a second one, which does not.

    SIGHUP does not end it: the users and the settings are read again, or a line is logged if there are neither. If the engine
    of a bucket fails, the service ends as well; should that take too long, the process is ended with `FAILED_STATUS`.

    Args:
        settings: What to run.
        listening: Called with the addresses once connections are accepted.
        stopping: Called with the number of the first signal.
        reread: As for `serve`.
        changed: Called with the settings whenever SIGHUP has changed them.
        supervisor: Is told about the service; None for nobody.

    Raises:
        SettingsError: The settings do not fit together.
        DataDirectoryError: The data directory can't be used.
        ListenError: The service can't listen on an address.
        EngineFailedError: The engine of a bucket has failed.
    """
    if settings.switch_interval:
        sys.setswitchinterval(settings.switch_interval)
    stop = trio.Event()
    supervisor = Supervisor() if supervisor is None else supervisor

    def failing(failure: EngineFailedError) -> None:
        end_soon(failure)
        supervisor.failed(failure)

    try:
        sockets = [inherited.socket for inherited in supervisor.sockets]
        service = Service(settings, failing=failing, reread=reread, changed=changed, sockets=sockets)
        supervisor.follow(service.shared)
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
                await service.run(task_status=task_status, stop=stop)
                nursery.cancel_scope.cancel()

            nursery.start_soon(supervisor.run, service.shared)
            nursery.start_soon(_stop_on_signals, stop, nursery.cancel_scope, stopping)
            if settings.users is None and reread is None:
                nursery.start_soon(_note_hangups)
            listening(await nursery.start(run))
    except BaseExceptionGroup as group:
        raise_the_one(group)


def end_soon(failure: EngineFailedError | str, patience: float = FAILED_PATIENCE) -> None:
    """End the process with a line and `FAILED_STATUS` if it is still there after some seconds."""

    def tell_in_thread() -> None:
        with suppress(OSError, ValueError):
            print(f"Error: {failure}", file=sys.stderr, flush=True)

    def end_in_thread() -> None:
        # In another thread: a pipe that is full and that nobody reads must not keep the process from ending.
        telling = threading.Thread(target=tell_in_thread, daemon=True)
        try:
            telling.start()
            telling.join(LINE_PATIENCE)
        finally:
            os._exit(FAILED_STATUS)

    timer = threading.Timer(patience, end_in_thread)
    timer.daemon = True
    timer.start()


async def _stop_on_signals(stop: trio.Event, everything: trio.CancelScope, notify: Callable[[int], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                everything.cancel()
                end_soon(f"the storage did not close in {SIGNAL_PATIENCE:g} seconds after the second signal", SIGNAL_PATIENCE)
                return
            notify(number)
            stop.set()


async def _note_hangups() -> None:
    """Log a line at every SIGHUP, whose default action would end the process."""
    log = structlog.get_logger("trio_spool")
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            log.warning("SIGHUP reads the file of users again, and there is none: name one with --users")
