"""The supervisor of this process, as far as the environment tells of one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import MutableMapping, Sequence
from typing import Final, NoReturn

import attrs
import structlog
import trio

from ..settings import TcpAddress, UnixAddress, parse_address
from ..shared import Shared, Stage
from ._activation import InheritedSocket, inherited_sockets
from ._notifying import Notifier

# The part of the watchdog's time for which the writer of a bucket may be at work without a pause, and then the watchdog is fed no
# more; and the part between two meals. So a disk that hangs, or an event loop, is found after no more than 1.5 of that time.
PATIENCE: Final = 1 / 2
MEALS: Final = 1 / 4

_NUMBER: Final = re.compile("[0-9]{1,18}")

NO_WATCHDOG: Final = "there is no watchdog: its variables are not numbers"
UNUSED: Final = "addresses of --listen are not used: the supervisor has opened sockets"
# Seconds between two meals at least. Picked, not measured: a watchdog of microseconds could not be fed in time anyway, and trying
# would keep the event loop busy.
SHORTEST_MEAL: Final = 0.001

UNFED: Final = "the watchdog is not fed: writes wait for a disk that does not answer"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("trio_spool")


class Supervisor:
    """The supervisor of this process, as `find_supervisor` returns it, for `serve_until_signal`.

    It tells the supervisor about the service, feeds its watchdog, and holds the sockets that it has opened.

    Args:
        notifier: Sends news; None if nobody wants any.
        watchdog: The seconds after which the supervisor ends a service that feeds no watchdog; None if there is none.
        sockets: The sockets that it has opened.
        complaints: What to log of the environment, before anything else: an event and its details for each line.

    Attributes:
        sockets: As above.
        complaints: As above.
    """

    def __init__(
        self,
        notifier: Notifier | None = None,
        watchdog: float | None = None,
        sockets: Sequence[InheritedSocket] = (),
        complaints: Sequence[tuple[str, dict[str, object]]] = (),
    ) -> None:
        self._notifier = notifier
        self.complaints = list(complaints)
        self._watchdog = watchdog
        self.sockets = sockets

    def addresses(self, listen: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses to listen on: those of the sockets, if there are any, and otherwise those of the settings.

        A socket has TLS if its name says so, or if an address ``tls://`` of the settings has its port.

        Raises:
            SettingsError: An address can't be parsed.
        """
        if not self.sockets:
            return tuple(listen)
        encrypted = {each.port for each in map(parse_address, listen) if isinstance(each, TcpAddress) and each.tls}
        return tuple(
            str(attrs.evolve(address, tls=True) if isinstance(address, TcpAddress) and address.port in encrypted else address)
            for address in (each.address for each in self.sockets)
        )

    def note_unused(self, listen: Sequence[str]) -> None:
        """Have a line logged if there are sockets, and addresses of the settings at which none of them listens.

        Raises:
            SettingsError: An address can't be parsed.
        """
        if not self.sockets:
            return
        ports = {each.address.port for each in self.sockets if isinstance(each.address, TcpAddress)}
        places = {each.address.place for each in self.sockets if isinstance(each.address, UnixAddress)}
        unused = [
            text
            for text, address in zip(listen, map(parse_address, listen), strict=True)
            if (address.port not in ports if isinstance(address, TcpAddress) else address.place not in places)
        ]
        if unused:
            self.complaints.append((UNUSED, {"addresses": " ".join(unused)}))

    def follow(self, shared: Shared) -> None:
        """Tell the supervisor about the life of a service from now on."""
        for event, details in self.complaints:
            _log.warning(event, **details)
        if self._notifier is not None:
            self._notifier.tell(status="Opening the data")
            shared.life.watchers.append(lambda stage: self._tell(stage, shared))

    def failed(self, failure: object) -> None:
        """Tell the supervisor why the service ends."""
        if self._notifier is not None:
            self._notifier.tell(status=f"The storage has failed: {failure}")

    async def run(self, shared: Shared) -> None:
        """Send what waits, and feed the watchdog, until this is cancelled."""
        if self._notifier is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notifier.run)
                if self._watchdog is not None:
                    nursery.start_soon(_feed, self._notifier, self._watchdog, shared)

    def _tell(self, stage: Stage, shared: Shared) -> None:
        assert self._notifier is not None
        if stage is Stage.SERVING:
            self._notifier.tell(ready=1, status=f"Listening on {', '.join(map(str, shared.listening))}")
        elif stage is Stage.RELOADING:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._notifier.tell(reloading=1, monotonic_usec=now, status="Reading the users and the settings again")
        elif stage is Stage.DRAINING:
            self._notifier.tell(stopping=1, status="Finishing what clients have asked for")


async def _feed(notifier: Notifier, seconds: float, shared: Shared) -> NoReturn:
    """Feed the watchdog as long as this task runs and no writer is stuck."""
    while True:
        stuck = shared.buckets.stuck(seconds * PATIENCE)
        for name in stuck:
            shared.incidents.report(UNFED, place=name, level="error", bucket=name, seconds=round(seconds * PATIENCE, 1))
        if not stuck:
            notifier.tell(watchdog=1)
        await trio.sleep(max(seconds * MEALS, SHORTEST_MEAL))


def find_supervisor(environ: MutableMapping[str, str]) -> Supervisor:
    """Return the supervisor that the environment tells of, and take its variables out of that.

    A program that calls `serve_until_signal` does this first, and passes the result on. `Supervisor.addresses` makes of the
    addresses that it would listen on those that it has to.

    Args:
        environ: The environment: `os.environ`.

    Raises:
        ListenError: Its sockets can't be used.
    """
    path, usec, pid = (environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
    sockets = inherited_sockets(environ)
    notifier = Notifier(path) if path else None
    if not usec:
        return Supervisor(notifier, None, sockets)
    microseconds, process = (int(text) if _NUMBER.fullmatch(text) else 0 for text in (usec, pid or str(os.getpid())))
    if not microseconds or not process:
        return Supervisor(notifier, None, sockets, [(NO_WATCHDOG, {"watchdog_usec": usec, "watchdog_pid": pid})])
    return Supervisor(notifier, microseconds / 1e6 if process == os.getpid() else None, sockets)
