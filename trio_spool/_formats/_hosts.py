"""Addresses as text."""

from __future__ import annotations


def host_and_port(host: str, port: int) -> str:
    """Return a host and a port as an address has them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """Return the host of what `host_and_port` returned; any other text as it is."""
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else address
