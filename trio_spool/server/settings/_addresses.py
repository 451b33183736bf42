"""Addresses to listen on: parsed once, and passed on as values."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache
from typing import TypeAlias

import attrs

from ..._formats import host_and_port
from ._errors import SettingsError


@attrs.frozen
class TcpAddress:
    """A TCP host and port to listen on; port 0 lets the system choose."""

    host: str
    port: int
    tls: bool = False

    @property
    def scheme(self) -> str:
        """How the address begins."""
        return "tls" if self.tls else "tcp"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def place(self) -> object:
        """What two listeners can't share; None if the system chooses the port."""
        return (self.host.lower(), self.port) if self.port else None

    def __str__(self) -> str:
        return f"{self.scheme}://{host_and_port(self.host, self.port)}"


@attrs.frozen
class UnixAddress:
    """The path of a Unix domain socket to listen on."""

    path: str
    is_loopback = True
    tls = False

    @property
    def place(self) -> object:
        """What two listeners can't share."""
        return os.path.abspath(self.path)

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address: TypeAlias = "TcpAddress | UnixAddress"

_TCP = re.compile(r"(?P<scheme>tcp|tls)://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?")


@lru_cache(64)  # far more than a service listens on
def parse_address(text: str) -> Address:
    """Parse ``tcp://HOST:PORT``, ``tls://HOST:PORT`` or ``unix:PATH``.

    Raises:
        SettingsError: The text is none of these.
    """
    if text.startswith("unix:") and len(text) > len("unix:") and "\0" not in text:
        return UnixAddress(text.removeprefix("unix:"))
    match = _TCP.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise SettingsError(f"can't listen on {text!r}: an address is tcp://HOST:PORT, tls://HOST:PORT or unix:PATH")
    return TcpAddress(match["v6"] or match["host"], int(match["port"]), match["scheme"] == "tls")


def check_distinct(texts: tuple[str, ...], addresses: tuple[Address, ...]) -> None:
    """Refuse an address that is given twice. Port 0 may be given several times: each is another port.

    Raises:
        SettingsError: Two addresses are the same place. The message quotes both as they were given.
    """
    seen: dict[object, str] = {}
    for text, address in zip(texts, addresses, strict=True):
        if address.place is None:
            continue
        if address.place in seen:
            first = seen[address.place]
            same = text if first == text else f"{text}, which is {first},"
            raise SettingsError(f"can't listen on {same} twice: leave one out")
        seen[address.place] = text
