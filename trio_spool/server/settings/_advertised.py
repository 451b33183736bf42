"""Advertised ports: the ports at which clients reach listeners from outside, behind a port mapping."""

from __future__ import annotations

import re
from functools import lru_cache

from ._addresses import Address, TcpAddress
from ._errors import SettingsError

_PAIR = re.compile(r"(?P<outside>[0-9]{1,5}):(?P<inside>[0-9]{1,5}|(?:tcp|tls)://.+)")
_FORM = "an advertised port is OUTSIDE:INSIDE, as in docker run -p; an example is 31210:11210"


@lru_cache(64)  # far more than a service listens on
def advertised_ports(advertise: tuple[str, ...], listen: tuple[str, ...], addresses: tuple[Address, ...]) -> tuple[int, ...]:
    """Return for each address the port that its clients are told; 0 for the port that it listens on.

    Args:
        advertise: Pairs ``OUTSIDE:INSIDE`` of ports. INSIDE may also be one of `listen`, as it is written there.
        listen: The addresses, as they were given.
        addresses: The same, parsed.

    Raises:
        SettingsError: A pair is none, or does not name exactly one TCP address, or an address is named twice.
    """
    ports = [0] * len(addresses)
    for text in advertise:
        outside, inside = _parse(text)
        index = _find(text, inside, listen, addresses)
        if ports[index]:
            raise SettingsError(f"advertise names {listen[index]} twice: with port {ports[index]} and with {outside}; keep one")
        ports[index] = outside
    return tuple(ports)


def _parse(text: str) -> tuple[int, str]:
    match = _PAIR.fullmatch(text)
    if match is None:
        raise SettingsError(f"can't advertise {text!r:.100}: {_FORM}")
    outside = int(match["outside"])
    if not 0 < outside < 65536:
        raise SettingsError(f"can't advertise {text!r}: the outside port must be from 1 to 65535; got {outside}")
    return outside, match["inside"]


def _find(text: str, inside: str, listen: tuple[str, ...], addresses: tuple[Address, ...]) -> int:
    """Return the index of the address that a pair names."""
    if inside.isdecimal():
        wanted = int(inside)
        found = [index for index, one in enumerate(addresses) if isinstance(one, TcpAddress) and one.port == wanted]
    else:
        found = [index for index, one in enumerate(listen) if one == inside]
    if not found:
        listeners = ", ".join(listen)
        raise SettingsError(f"can't advertise {text!r:.60}: no listener has {inside:.60}; the listeners are {listeners:.150}")
    if len(found) > 1:
        named = " and ".join(listen[index] for index in found)
        raise SettingsError(
            f"can't advertise {text!r:.100}: it names {named}; give each a port of its own, "
            "or write the whole address in place of the port"
        )
    return found[0]
