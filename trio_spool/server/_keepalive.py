"""TCP keepalive: the system asks whether a silent peer's system is still there."""

from __future__ import annotations

import socket
from contextlib import suppress
from math import inf
from typing import Final

import trio

# Questions without an answer after which the system breaks the connection. Redis' number.
_PROBES: Final = 3
# How the systems call the seconds of silence before the first question.
_IDLE_NAMES: Final = ("TCP_KEEPIDLE", "TCP_KEEPALIVE")


def keep_alive(stream: trio.SocketStream, seconds: float) -> None:
    """Have the system notice within twice `seconds` that the peer's system is gone. This does nothing to a Unix domain socket.

    Args:
        stream: The connection.
        seconds: After how long a silence to ask; infinity turns it off.
    """
    connection = stream.socket
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # the client has gone, or the system lacks an option
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(seconds != inf))
        if seconds == inf:
            return
        idle = max(1, round(seconds))
        for name in _IDLE_NAMES:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), idle)
                break
        if hasattr(socket, "TCP_KEEPINTVL"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, idle // _PROBES))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
