"""Telling a supervisor how the service is: systemd's protocol of sd_notify(3), one datagram for each piece of news."""

from __future__ import annotations

import socket
from collections import deque
from typing import Final, NoReturn

import structlog
import trio

from ..._files import explain

# Pieces of news that wait for a supervisor that does not read. Further ones are dropped. Picked, not measured: a service has a
# handful in its life, and a watchdog that does not read needs no food.
MAX_WAITING: Final = 64
# Seconds between two tries to send what the supervisor has no room for. Picked, not measured: systemd has room for hundreds of
# datagrams, so this happens only if it is stuck.
_RETRY: Final = 1.0


class Notifier:
    """Sends news to a supervisor, in order. Nothing of it keeps the service waiting, or ends it: what fails is logged, once.

    Args:
        path: The supervisor's socket: an absolute path, or ``@`` and an abstract name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._waiting: deque[bytes] = deque()
        self._wake = trio.Event()
        self._failing = False
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("trio_spool")

    def tell(self, **news: object) -> None:
        """Send some news at once, or as soon as the supervisor has room: the variables of one datagram, in lower case."""
        lines = [f"{name.upper()}={' '.join(str(value).split())}" for name, value in news.items()]
        datagram = "\n".join(lines).encode(errors="replace")
        if self._waiting or not self._send(datagram):
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(datagram)
            self._wake.set()

    async def run(self) -> NoReturn:
        """Send what waits, for ever."""
        while True:
            await self._wake.wait()
            while self._waiting and self._send(self._waiting[0]):
                self._waiting.popleft()
            if self._waiting:
                await trio.sleep(_RETRY)
            else:
                self._wake = trio.Event()

    def _send(self, datagram: bytes) -> bool:
        """Send a datagram. Return whether that is done with: False if the supervisor has no room for it now."""
        try:
            # A socket for each datagram: the supervisor may have made its own again.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connected:
                connected.setblocking(False)
                connected.connect(self._address())
                connected.send(datagram)
        except BlockingIOError:
            self._failed("it does not read what it is told")
            return False
        except OSError as exc:
            self._failed(explain(exc))
        else:
            self._failing = False
        return True

    def _address(self) -> str:
        if not self._path.startswith(("/", "@")):
            raise OSError("it must be an absolute path, or an abstract name that begins with @")
        return "\0" + self._path[1:] if self._path.startswith("@") else self._path

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            self._log.warning("the supervisor can't be told how the service is", notify_socket=self._path, reason=reason)
