"""The listeners for management, as the configuration names them to clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import attrs

from ..._formats import host_of
from ._listener import Listener


@attrs.frozen
class Entrance:
    """A listener for management.

    Attributes:
        inside: The TCP port that it listens on.
        outside: The port by which clients outside a port mapping reach it; 0 if there is none.
        tls: Whether its connections are encrypted.
        local: Whether only clients on this machine reach it.
    """

    inside: int
    outside: int = 0
    tls: bool = False
    local: bool = False


def find_entrance(entrances: Iterable[Entrance], listener: Listener, peer: str, *, tls: bool) -> int:
    """Return the port of management that a client can reach; 0 if there is none, so that no client waits for one.

    Args:
        entrances: The listeners for management.
        listener: The listener by which the client came in. If that has an advertised port, the client is outside the port mapping.
        peer: The address of the client.
        tls: Whether the port is to be one with TLS.
    """
    for entrance in entrances:
        port = entrance.outside if listener.mapped else entrance.inside
        if entrance.tls == tls and port and (not entrance.local or _is_local(peer)):
            return port
    return 0


def _is_local(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(host_of(peer))
    except ValueError:
        return True  # a Unix domain socket
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
