"""Who may connect: the places that there are, in all and for each address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Final

import attrs

from ..settings import Settings

NO_PLACE: Final = "connections are refused: there are too many"
NO_PLACE_FOR_ADDRESS: Final = "connections of an address are refused: it has too many"
# The bits of an IPv6 address that name a network. A host usually has all addresses of one (RFC 6177), so they count as one.
_NETWORK_BITS: Final = 64


def counted_as(host: str) -> str:
    """Return the address or network as which a numeric host is counted; an empty string for what is none, such as a Unix socket."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))


@attrs.frozen
class NoPlace:
    """Why a client may not connect.

    Attributes:
        event: What the log says.
        place: Whom it is about, for the log: an address, or nothing.
        limit: How many connections there may be.
        option: What raises the limit.
        told: What the client is told.
    """

    event: str
    place: str
    limit: int
    option: str
    told: str


class Admission:
    """Counts the connections of each address. The event loop's thread uses it."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of addresses that have connections."""
        return len(self._open)

    def busiest(self) -> int:
        """Return the number of connections of the address that has most of them."""
        return max(self._open.values(), default=0)

    def refusal(self, counted: str, connections: int, settings: Settings) -> NoPlace | None:
        """Return why a client may not connect, or None if it may.

        Args:
            counted: What `counted_as` makes of its host.
            connections: How many connections are open.
            settings: The limits.
        """
        if connections >= settings.max_connections:
            return NoPlace(NO_PLACE, "", settings.max_connections, "--max-connections", "Too many connections")
        most = settings.max_connections_per_address
        if counted and self._open[counted] >= most:
            option = "--max-connections-per-address"
            return NoPlace(NO_PLACE_FOR_ADDRESS, counted, most, option, "Too many connections from this address")
        return None

    def enter(self, counted: str) -> None:
        """Count a connection as open."""
        if counted:
            self._open[counted] += 1

    def leave(self, counted: str) -> None:
        """Count a connection as ended."""
        if counted:
            self._open[counted] -= 1
            if not self._open[counted]:
                del self._open[counted]
