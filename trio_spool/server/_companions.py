"""Companions: what runs beside the service of clients, from before the first client until after the last one.

A companion is a function that serves until it is cancelled: somebody who listens for metrics, or for requests of administrators. It
calls ``task_status.started`` with its addresses, as they are to be printed, once it accepts connections. Until then, what it raises
keeps the service from starting. After that, it ends the companion alone: clients are served on, and the log says what happened.

While the service drains, companions go on, so that a probe can see it: see `Life`. Connections to a companion keep no service from
ending. To add one, add two lines to `companions`, which import it only if the settings ask for it; or to `observers`, if it is to
be there before the data are open, and until they are closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import trio

from .._core import let_go
from .settings import Settings
from .shared import Shared


class Companion(Protocol):
    """Serves until it is cancelled."""

    async def __call__(self, shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
        """Serve.

        Args:
            shared: What there is to tell, and to change.
            task_status: Receives the addresses that it listens on.

        Raises:
            ListenError: It can't listen on an address.
            SettingsError: The settings do not fit together.
        """


def companions(settings: Settings) -> Iterator[Companion]:
    """Return the companions that the settings ask for."""
    if settings.management:
        from .management import manage

        yield manage


def observers(settings: Settings) -> Iterator[Companion]:
    """Return the companions that the settings ask for and that only look: they also tell of a service that starts, or closes."""
    if settings.metrics:
        from .metrics import serve_metrics

        yield serve_metrics


async def accompany(companion: Companion, shared: Shared, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Run a companion. What it raises before it has started is raised here; what it raises later is logged."""
    status = _Status(task_status)
    try:
        await companion(shared, task_status=status)
    except Exception as exc:
        if not status.has_started:
            raise
        shared.log.error("a listener beside that for clients has failed, and is closed", exc_info=exc)
        let_go(exc)


class _Status(trio.TaskStatus[list[str]]):
    """Passes the start on, and remembers it."""

    def __init__(self, status: trio.TaskStatus[list[str]]) -> None:
        self._status = status
        self.has_started = False

    def started(self, value: list[str] | None = None) -> None:
        self._status.started([] if value is None else value)
        self.has_started = True
